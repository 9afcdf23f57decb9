//! A certificate chain with its key.

use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::validity::{self, Validity};

/// A certificate chain with the key of its first certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub(super) certified: Arc<CertifiedKey>,
    validity: Validity,
}

/// The reason why texts are not a certificate with its key. It repeats nothing of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    /// No certificate is in the text.
    #[error("no certificate in PEM form")]
    NoCertificate,
    /// No usable key is in the text.
    #[error("no private key in PEM form; an encrypted key cannot be used")]
    NoKey,
    /// A part of the text is cut or changed.
    #[error("damaged PEM")]
    Pem,
    /// The certificate is of another key.
    #[error("the key does not belong to the first certificate")]
    OtherKey,
    /// The certificate is malformed.
    #[error("the first certificate is malformed")]
    Certificate,
    /// The key is malformed, or of a kind that is not supported.
    #[error("the key is malformed or of an unsupported kind; RSA, ECDSA on P-256 or P-384, and Ed25519 are supported")]
    Key,
    /// Its time has not begun or is over.
    #[error("the first certificate is not valid at this time")]
    NotNow,
}

impl Certificate {
    /// Reads a chain in PEM form, the server's own certificate first, and the key of that certificate.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, InvalidCertificate> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|_| InvalidCertificate::Pem)?;
        let first = chain.first().ok_or(InvalidCertificate::NoCertificate)?;
        let validity = validity::of(first).ok_or(InvalidCertificate::Certificate)?;
        ParsedCertificate::try_from(first).map_err(|_| InvalidCertificate::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => InvalidCertificate::NoKey,
            _ => InvalidCertificate::Pem,
        })?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => InvalidCertificate::OtherKey,
            _ => InvalidCertificate::Key,
        })?;
        Ok(Certificate { certified: Arc::new(certified), validity })
    }

    /// True if clients that ask for this host accept the certificate's names.
    pub fn covers(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let (Ok(name), Ok(certificate)) =
            (ServerName::try_from(host), self.certified.end_entity_cert().and_then(ParsedCertificate::try_from))
        else {
            return false;
        };
        verify_server_name(&certificate, &name).is_ok()
    }

    /// True if it is valid at this time, in seconds since the epoch.
    pub fn is_valid_at(&self, seconds: i64) -> bool {
        (self.validity.not_before..=self.validity.not_after).contains(&seconds)
    }

    /// The last second of its validity, since the epoch.
    pub fn not_after(&self) -> i64 {
        self.validity.not_after
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// A certificate for these names by itself, and its key, both in PEM form.
    pub(crate) fn pair(names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        (CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn read(chain: &str, key: &str) -> Result<Certificate, InvalidCertificate> {
        Certificate::from_pem(chain.as_bytes(), key.as_bytes())
    }

    #[test]
    fn a_pair_is_read_from_two_texts_or_from_one() {
        let (chain, key) = pair(&["registry.example", "127.0.0.1"]);
        let both = format!("{key}{chain}");
        for certificate in [read(&chain, &key).unwrap(), read(&both, &both).unwrap()] {
            assert!(certificate.covers("registry.example") && certificate.covers("127.0.0.1"));
            assert!(!certificate.covers("other.example") && !certificate.covers("[::1]") && !certificate.covers("a/b"));
            assert!(certificate.is_valid_at(certificate.not_after()));
            assert!(!certificate.is_valid_at(certificate.not_after() + 1) && !certificate.is_valid_at(-1));
        }
    }

    #[test]
    fn what_is_no_pair_is_told() {
        let (chain, key) = pair(&["a.example"]);
        let (_, other_key) = pair(&["a.example"]);
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let cut = chain.lines().take(3).collect::<Vec<_>>().join("\n");
        let no_certificate = chain.lines().enumerate().map(|(at, line)| if at == 1 { "AAAA" } else { line });
        for (chain, key, expected) in [
            ("", &*key, InvalidCertificate::NoCertificate),
            (&*key, &*key, InvalidCertificate::NoCertificate),
            (&*chain, "", InvalidCertificate::NoKey),
            (&*chain, &*encrypted, InvalidCertificate::NoKey),
            (&*chain, &*other_key, InvalidCertificate::OtherKey),
            (&*cut, &*key, InvalidCertificate::Pem),
            (&*no_certificate.collect::<Vec<_>>().join("\n"), &*key, InvalidCertificate::Certificate),
        ] {
            assert_eq!(read(chain, key).unwrap_err(), expected);
        }
    }
}
