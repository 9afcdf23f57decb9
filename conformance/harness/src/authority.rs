//! A certificate authority of a check, and certificates by it, made with openssl.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rustls::ClientConfig;

use crate::program::{Ended, Program};
use crate::tls;

/// A key on P-256, which is quick to make.
const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// An authority with its files in one folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
}

/// The files of a certificate and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let authority = Authority { folder: folder.to_owned() };
        authority.openssl(&format!("req -x509 {KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=judged"))?;
        Ok(authority)
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate for a server with these names, such as `IP:127.0.0.1,DNS:localhost`. Its files begin with `file`.
    pub fn sign(&self, file: &str, names: &str) -> anyhow::Result<Pair> {
        let extensions = format!("subjectAltName={names}\nbasicConstraints=CA:FALSE\n");
        std::fs::write(self.folder.join(format!("{file}.ext")), extensions)?;
        self.openssl(&format!("req {KEY} -keyout {file}.key -out {file}.csr -subj /CN={file}"))?;
        let by = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2";
        self.openssl(&format!("x509 -req -in {file}.csr {by} -out {file}.pem -extfile {file}.ext"))?;
        let path = |ending: &str| self.folder.join(format!("{file}.{ending}"));
        Ok(Pair { certificate: path("pem"), key: path("key") })
    }

    /// Clients that trust it.
    pub fn trust(&self) -> anyhow::Result<Arc<ClientConfig>> {
        tls::config(Some(&self.certificate()))
    }

    fn openssl(&self, words: &str) -> anyhow::Result<Ended> {
        let program = Program::new("openssl", &self.folder.join("openssl.log")).folder(&self.folder);
        program.args(words.split(' ')).run().with_context(|| format!("openssl {words}"))
    }
}

impl Pair {
    /// Replaces the files of this pair by those of another, one after the other, as a renewal does.
    pub fn become_like(&self, other: &Pair) -> anyhow::Result<()> {
        for (from, to) in [(&other.certificate, &self.certificate), (&other.key, &self.key)] {
            let beside = to.with_extension("new");
            std::fs::copy(from, &beside)?;
            std::fs::rename(beside, to)?;
        }
        Ok(())
    }
}
