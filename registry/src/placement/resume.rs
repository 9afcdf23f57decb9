//! Resume tokens of interrupted uploads, each in a small file, so that they survive a crash.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use backends::{MAX_TOKEN, Resume, ResumeToken};
use content_store::replace_file;
use futures_util::future::BoxFuture;

use crate::oci::Digest;

/// The token file of one piece of content. The token may give access to the upload, so only this user can read it.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    last: Mutex<Option<ResumeToken>>,
}

impl TokenFile {
    /// Reads the stored token. An unreadable one only means that the upload starts again. Blocks.
    pub(super) fn open(directory: &Path, digest: &Digest) -> Self {
        let path = directory.join(digest.file_name());
        let last = read(&path).inspect_err(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%digest, %error, "a resume token cannot be read, so the upload starts again");
            }
        });
        TokenFile { path, last: Mutex::new(last.ok().flatten()) }
    }
}

impl Resume for TokenFile {
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
        let file = TokenFile::open(place.path(), &digest);
        assert_eq!(file.last(), None);
        for text in ["first", "second"] {
            file.keep(ResumeToken::try_from(text.to_owned()).unwrap()).await;
            assert_eq!(TokenFile::open(place.path(), &digest).last().unwrap().as_str(), text);
        }
        assert_eq!(crate::placement::attempts::kept(place.path()).unwrap(), std::slice::from_ref(&digest));
        forget(place.path(), &digest);
        forget(place.path(), &digest);
        assert_eq!(TokenFile::open(place.path(), &digest).last(), None);
    }

    #[test]
    fn a_damaged_token_is_none() {
        let place = tempfile::tempdir().unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"content");
        for bytes in [vec![], vec![b'x'; MAX_TOKEN + 1], vec![0xff, 0xfe]] {
            fs::write(place.path().join(digest.file_name()), bytes).unwrap();
            assert_eq!(TokenFile::open(place.path(), &digest).last(), None);
        }
    }
}
