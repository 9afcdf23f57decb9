//! Root certificates for outgoing TLS.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// A client configuration with the system's certificate authorities (`SSL_CERT_FILE` names others). Without any, as in
/// a bare container image, it has Mozilla's list.
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
