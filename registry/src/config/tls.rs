//! `[server.tls]`: the certificate of the listeners.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TimeSpan;
use super::validate::Faults;

/// TLS of the listeners. Without a certificate they speak plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// File with the certificate chain in PEM form, the server's own certificate first. With it, `server.listen` and
    /// `gateway.listen` [speak TLS](how-to/tls.md), and so does `skyberth portal`. Empty: plain HTTP.
    ///
    /// It is reloaded when it changes. An attached portal stays plain, since its own node uses it.
    pub certificate: PathBuf,
    /// File with the private key of the certificate in PEM form. Empty: it is in the file of the certificate.
    pub key: PathBuf,
    /// Time for which browsers use only https for the host of `server.url`, once they have seen it (HSTS). It is sent
    /// if `server.url` is an https URL with a name. 0: it is not sent.
    ///
    /// It holds for all ports of that host, so it must not be sent for a name that the operator did not give.
    pub hsts: TimeSpan,
}

impl Default for Tls {
    fn default() -> Self {
        Tls { certificate: PathBuf::new(), key: PathBuf::new(), hsts: TimeSpan::from_secs(180 * 24 * 3600) }
    }
}

impl Tls {
    /// The file of the certificate, and the file of its key if that is another one. `None`: plain HTTP.
    pub fn files(&self) -> Option<(&Path, Option<&Path>)> {
        let named = |path: &'_ PathBuf| !path.as_os_str().is_empty();
        named(&self.certificate).then(|| (self.certificate.as_path(), named(&self.key).then_some(self.key.as_path())))
    }

    pub(super) fn validate(&self, faults: &mut Faults) {
        // A start in plain HTTP would leave the node more open than its operator believes.
        if self.files().is_none() && !self.key.as_os_str().is_empty() {
            faults.add("server.tls.key", "needs server.tls.certificate, too");
        }
    }
}
