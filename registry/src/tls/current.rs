//! The certificate in force, and the settings of every handshake.

use std::sync::{Arc, PoisonError, RwLock};

use http::HeaderValue;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto};

use super::Certificate;

/// The certificate in force. It may be replaced at any time: later handshakes have the new one, and connections stay.
#[derive(Debug)]
pub struct Current(RwLock<Certificate>);

impl Current {
    /// Begins with this certificate.
    pub fn new(certificate: Certificate) -> Arc<Self> {
        Arc::new(Current(RwLock::new(certificate)))
    }

    /// Puts another certificate in force.
    pub fn replace(&self, certificate: Certificate) {
        // Each change is one assignment.
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    /// The certificate in force.
    pub fn get(&self) -> Certificate {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get().certified)
    }
}

/// TLS of a listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The settings of handshakes.
    pub config: Arc<ServerConfig>,
    /// `Strict-Transport-Security` of each answer.
    pub strict_transport: Option<HeaderValue>,
}

impl Tls {
    /// TLS 1.3 and 1.2 with this certificate, for HTTP/2 and HTTP/1.1, with the defaults of the library: no early data,
    /// no renegotiation, no compression, forward secrecy with every cipher.
    pub fn new(current: Arc<Current>) -> Self {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider knows the versions that are compiled in")
            .with_no_client_auth()
            .with_cert_resolver(current);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Tls { config: Arc::new(config), strict_transport: None }
    }
}

fn provider() -> Arc<crypto::CryptoProvider> {
    Arc::new(ring::default_provider())
}
