//! Root certificates for outgoing TLS.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// The authorities that the system knows (`SSL_CERT_FILE` names others); Mozilla's list where it knows none, as in a
/// bare container image.
pub fn client_config() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows the versions that are compiled in")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
