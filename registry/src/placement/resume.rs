//! Uploads in progress: a resume token, in a small file so that it survives a crash, and a record of each copy.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use backends::{Locator, MAX_TOKEN, Progress, ResumeToken};
use content_store::replace_file;
use futures_util::future::BoxFuture;

use crate::catalog::Catalog;
use crate::catalog::command::Command;
use crate::oci::Digest;

/// An upload of one piece of content, with its token file. The token may give access to the upload, so only this user
/// can read the file.
#[derive(Debug)]
pub(super) struct Upload {
    digest: Digest,
    path: PathBuf,
    last: Mutex<Option<ResumeToken>>,
    /// Records each copy as soon as it is made.
    catalog: Option<Catalog>,
}

impl Upload {
    /// Reads the stored token. An unreadable one only means that the upload starts again. Blocks.
    pub(super) fn open(directory: &Path, digest: &Digest, catalog: Option<Catalog>) -> Self {
        let path = directory.join(digest.file_name());
        let last = read(&path).inspect_err(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%digest, %error, "a resume token cannot be read, so the upload starts again");
            }
        });
        Upload { digest: digest.clone(), path, last: Mutex::new(last.ok().flatten()), catalog }
    }
}

impl Progress for Upload {
    fn last(&self) -> Option<ResumeToken> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, token: ResumeToken) -> BoxFuture<'_, ()> {
        let path = self.path.clone();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Box::pin(async move {
            let kept = tokio::task::spawn_blocking(move || write(&path, token.as_str())).await;
            if let Ok(Err(error)) = kept {
                tracing::warn!(%error, "a resume token cannot be stored, so an interrupted upload would start again");
            }
        })
    }

    /// A copy that is not recorded is found by its address later.
    fn copied(&self, locator: Locator) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let Some(catalog) = &self.catalog else { return };
            let digest = self.digest.clone();
            if let Err(error) = catalog.commit(vec![Command::RecordPlaced { digest, locator }]).await {
                tracing::warn!(digest = %self.digest, %error, "a copy cannot be recorded now");
            }
        })
    }
}

/// Removes a token. A file that stays costs at most one call. Blocks.
pub(super) fn forget(directory: &Path, digest: &Digest) {
    match fs::remove_file(directory.join(digest.file_name())) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%digest, %error, "a resume token cannot be removed");
        }
        _ => {}
    }
}

fn read(path: &Path) -> io::Result<Option<ResumeToken>> {
    let mut text = String::new();
    File::open(path)?.take(MAX_TOKEN as u64 + 1).read_to_string(&mut text)?;
    Ok(ResumeToken::try_from(text).ok().filter(|token| !token.as_str().is_empty()))
}

/// Replaces the file. A crash leaves the old token, the new one, or none. The backend may refuse any of them.
fn write(path: &Path, token: &str) -> io::Result<()> {
    replace_file(&[token.as_bytes()], &path.with_extension("new"), path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    #[tokio::test]
    async fn a_token_survives_until_it_is_forgotten() {
        let place = tempfile::tempdir().unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"content");
        let file = Upload::open(place.path(), &digest, None);
        assert_eq!(file.last(), None);
        for text in ["first", "second"] {
            file.keep(ResumeToken::try_from(text.to_owned()).unwrap()).await;
            assert_eq!(Upload::open(place.path(), &digest, None).last().unwrap().as_str(), text);
        }
        assert_eq!(crate::placement::attempts::kept(place.path()).unwrap(), std::slice::from_ref(&digest));
        forget(place.path(), &digest);
        forget(place.path(), &digest);
        assert_eq!(Upload::open(place.path(), &digest, None).last(), None);
    }

    #[test]
    fn a_damaged_token_is_none() {
        let place = tempfile::tempdir().unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"content");
        for bytes in [vec![], vec![b'x'; MAX_TOKEN + 1], vec![0xff, 0xfe]] {
            fs::write(place.path().join(digest.file_name()), bytes).unwrap();
            assert_eq!(Upload::open(place.path(), &digest, None).last(), None);
        }
    }
}
