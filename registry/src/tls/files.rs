//! A certificate in files, which other programs replace while the server runs.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Certificate, Current, InvalidCertificate};
use crate::telemetry::metrics::Metrics;
use crate::{regular_file, units};

/// Time from one look at the files to the next.
const INTERVAL: Duration = Duration::from_secs(5);
/// Most bytes of a file. A long chain has some ten thousand.
const LONGEST: u64 = 1 << 20;

/// The files of a certificate chain and its key; they may be one file.
#[derive(Clone, Debug)]
pub struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// The content of both files.
#[derive(PartialEq, Eq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// The reason why files have no certificate that can be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// They are no certificate with its key.
    #[error("{} with {}: {error}", certificate.display(), key.display())]
    Invalid {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// The reason.
        error: InvalidCertificate,
    },
}

impl Files {
    /// The chain in one file, and the key in another. Without a file of its own, the key is beside the chain.
    pub fn new(certificate: &Path, key: Option<&Path>) -> Self {
        Files { certificate: certificate.to_owned(), key: key.unwrap_or(certificate).to_owned() }
    }

    /// Reads the certificate. From now on [`Watch::keep_up`] can look for changes.
    pub fn load(self, metrics: Arc<Metrics>) -> Result<(Arc<Current>, Watch), FilesError> {
        let content = self.read()?;
        let certificate = self.parse(&content)?;
        tell(&certificate, &metrics);
        let current = Current::new(certificate);
        Ok((Arc::clone(&current), Watch { files: self, seen: Ok(content), current, metrics }))
    }

    fn read(&self) -> Result<Content, FilesError> {
        let read = |path: &Path| {
            let mut bytes = Vec::new();
            let all = regular_file::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
            let fits = all.and_then(|length| match length as u64 {
                0..=LONGEST => Ok(()),
                _ => Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file has more than 1 MiB")),
            });
            fits.map(|()| bytes).map_err(|error| FilesError::Unreadable { path: path.to_owned(), error })
        };
        Ok(Content { certificate: read(&self.certificate)?, key: read(&self.key)? })
    }

    fn parse(&self, content: &Content) -> Result<Certificate, FilesError> {
        Certificate::from_pem(&content.certificate, &content.key).map_err(|error| self.invalid(error))
    }

    fn invalid(&self, error: InvalidCertificate) -> FilesError {
        FilesError::Invalid { certificate: self.certificate.clone(), key: self.key.clone(), error }
    }
}

/// Seconds since the epoch.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// Says until when a certificate is valid.
fn tell(certificate: &Certificate, metrics: &Metrics) {
    let until = units::date(u64::try_from(certificate.not_after()).unwrap_or_default().saturating_mul(1000));
    metrics.certificate_not_after.set(certificate.not_after());
    if certificate.is_valid_at(now()) {
        tracing::info!(until, "a TLS certificate is in force");
    } else {
        tracing::warn!(until, "the TLS certificate is not valid at this time, so clients will refuse it");
    }
}

/// Looks for changes of the files.
pub struct Watch {
    files: Files,
    /// What the last look found: the content, or the error that was logged.
    seen: Result<Content, String>,
    current: Arc<Current>,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the content, which has the key.
        f.debug_struct("Watch").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Watch {
    /// Puts each changed certificate in force, until `stop`. SIGHUP causes a look at once.
    pub async fn keep_up(mut self, stop: CancellationToken) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => Some(hangup),
            Err(error) => {
                tracing::warn!(%error, "SIGHUP does not reload the TLS certificate; changes are still found");
                None
            }
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(INTERVAL) => {}
                Some(()) = async { hangup.as_mut()?.recv().await } => {}
            }
            // A file system may hang.
            let looking = spawn_blocking(move || {
                self.look();
                self
            });
            match looking.await {
                Ok(watch) => self = watch,
                Err(error) => return tracing::error!(%error, "the TLS certificate is not reloaded any more"),
            }
        }
    }

    /// Uses the files if they changed. If they cannot be used, it says so once, and the certificate in force stays.
    fn look(&mut self) {
        let found = self.files.read();
        if let (Ok(content), Ok(seen)) = (&found, &self.seen)
            && content == seen
        {
            return;
        }
        match found.and_then(|content| Ok((self.better(&content)?, content))) {
            Ok((certificate, content)) => {
                tell(&certificate, &self.metrics);
                self.current.replace(certificate);
                self.seen = Ok(content);
            }
            Err(error) => {
                let error = error.to_string();
                if self.seen.as_ref().err() != Some(&error) {
                    tracing::warn!(error, "a changed TLS certificate is not used; the one in force stays");
                }
                self.seen = Err(error);
            }
        }
    }

    /// The changed certificate, unless its time is over and that of the one in force is not.
    fn better(&self, content: &Content) -> Result<Certificate, FilesError> {
        let certificate = self.files.parse(content)?;
        if !certificate.is_valid_at(now()) && self.current.get().is_valid_at(now()) {
            return Err(self.files.invalid(InvalidCertificate::NotNow));
        }
        Ok(certificate)
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::tests::pair;
    use super::*;
    use crate::testing::TestLog;

    struct Folder {
        _files: tempfile::TempDir,
        certificate: PathBuf,
        key: PathBuf,
    }

    impl Folder {
        fn with(name: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
            let made = Folder { _files: folder, certificate, key };
            made.write(&pair(&[name]));
            made
        }

        fn write(&self, (certificate, key): &(String, String)) {
            std::fs::write(&self.certificate, certificate).unwrap();
            std::fs::write(&self.key, key).unwrap();
        }

        fn load(&self) -> Result<(Arc<Current>, Watch), FilesError> {
            Files::new(&self.certificate, Some(&self.key)).load(Arc::new(Metrics::new()))
        }
    }

    #[test]
    fn a_changed_pair_is_used_and_a_bad_one_is_not() {
        let log = TestLog::new();
        let folder = Folder::with("a.example");
        let (current, mut watch) = folder.load().unwrap();
        let warned = || log.take().iter().filter(|line| line["level"] == "WARN").count();
        assert_eq!(warned(), 0);
        folder.write(&pair(&["b.example"]));
        watch.look();
        assert!(current.get().covers("b.example") && !current.get().covers("a.example"));
        let (certificate, key) = pair(&["c.example"]);
        // A renewal writes one file after the other.
        std::fs::write(&folder.certificate, &certificate).unwrap();
        watch.look();
        watch.look();
        assert_eq!(warned(), 1, "the same fault is told once");
        assert!(current.get().covers("b.example"));
        std::fs::remove_file(&folder.key).unwrap();
        watch.look();
        assert_eq!(warned(), 1, "another fault is told, too");
        std::fs::write(&folder.key, &key).unwrap();
        watch.look();
        assert!(current.get().covers("c.example"));
        assert_eq!(warned(), 0);
    }

    #[test]
    fn a_certificate_that_is_over_replaces_none_that_is_valid() {
        let folder = Folder::with("a.example");
        let (current, mut watch) = folder.load().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["b.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        folder.write(&(params.self_signed(&key).unwrap().pem(), key.serialize_pem()));
        watch.look();
        assert!(current.get().covers("a.example"));
        // A start has nothing better.
        let (current, mut watch) = folder.load().unwrap();
        assert!(current.get().covers("b.example"));
        folder.write(&pair(&["c.example"]));
        watch.look();
        assert!(current.get().covers("c.example"));
    }

    #[test]
    fn nothing_prints_the_key() {
        let (_, watch) = Folder::with("a.example").load().unwrap();
        let shown = format!("{watch:?}");
        assert!(shown.contains("key.pem") && !shown.contains("BEGIN") && shown.len() < 400, "{shown}");
    }

    #[test]
    fn a_start_without_a_usable_pair_says_why() {
        let folder = Folder::with("a.example");
        std::fs::write(&folder.key, pair(&["a.example"]).1).unwrap();
        let error = folder.load().map(|_| ()).unwrap_err().to_string();
        assert!(error.ends_with("key.pem: the key does not belong to the first certificate"), "{error}");
        std::fs::remove_file(&folder.certificate).unwrap();
        let error = folder.load().map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("cannot read ") && error.contains("cert.pem: No such file"), "{error}");
        std::fs::write(&folder.certificate, vec![b' '; LONGEST as usize + 1]).unwrap();
        let error = folder.load().map(|_| ()).unwrap_err().to_string();
        assert!(error.ends_with("the file has more than 1 MiB"), "{error}");
    }
}
