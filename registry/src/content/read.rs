//! Content in local files, verified or put aside.

use std::fs::File;
use std::path::PathBuf;

use bytes::Bytes;
use content_store::{StoreError, Verdict, full_speed};

use super::{Error, LocalContent};
use crate::oci::Digest;

impl LocalContent {
    /// Content in a local file, its length checked; `None` if it is not here. A damaged file is put aside.
    pub(crate) async fn open(&self, digest: &Digest, size: u64) -> Result<Option<File>, Error> {
        let (store, wanted) = (self.store.clone(), digest.clone());
        let opened = tokio::task::spawn_blocking(move || store.open_content(&wanted, size));
        match opened.await? {
            Ok(file) => Ok(Some(file)),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(self.damaged(digest, error).await),
        }
    }

    /// Small content in a local file or in memory, verified; `None` if it is not here. A damaged file is put aside.
    pub(crate) async fn read_small(&self, digest: &Digest, size: u64) -> Result<Option<Bytes>, Error> {
        if let Some(bytes) = self.hot.get(digest) {
            return Ok(Some(bytes));
        }
        let (store, wanted) = (self.store.clone(), digest.clone());
        let reading = tokio::task::spawn_blocking(move || store.read_verified(&wanted, size));
        match reading.await? {
            Ok(bytes) => {
                let bytes = Bytes::from(bytes);
                self.hot.keep(digest, &bytes);
                Ok(Some(bytes))
            }
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(self.damaged(digest, error).await),
        }
    }

    /// As [`LocalContent::read_small`], for a caller that has a thread for it. Blocks. Nothing is put aside.
    pub(crate) fn read_small_blocking(&self, digest: &Digest, size: u64) -> Result<Bytes, StoreError> {
        if let Some(bytes) = self.hot.get(digest) {
            return Ok(bytes);
        }
        let bytes = Bytes::from(self.store.read_verified(digest, size)?);
        self.hot.keep(digest, &bytes);
        Ok(bytes)
    }

    /// True if the file of content that a repository holds is there, in its whole length.
    pub(crate) async fn is_whole(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let wanted = digest.clone();
        Ok(self.blocking(move |store| store.stat(&wanted)).await? == Some(size))
    }

    /// Says in the log that a file is gone though its content is referenced; false if it was deleted meanwhile.
    pub(crate) fn report_lost(&self, digest: &Digest) -> bool {
        let is_lost = self.catalog.is_referenced(digest).unwrap_or(true);
        if is_lost {
            tracing::error!(%digest, "content is held but its file is missing: push it again, or see `skyberth fsck`");
            self.hot.forget(digest);
            self.metrics.content_damaged.inc();
        }
        is_lost
    }

    /// Puts a damaged file aside, so that a push of the same content brings it back.
    pub(crate) async fn damaged(&self, digest: &Digest, error: StoreError) -> Error {
        if !matches!(error, StoreError::WrongLength { .. } | StoreError::Corrupt { .. }) {
            return error.into();
        }
        self.metrics.content_damaged.inc();
        match self.put_aside(digest).await {
            Ok(Some(path)) => {
                tracing::error!(%digest, quarantine = %path.display(), "content is damaged, its file was put aside");
            }
            Ok(None) => {}
            Err(why) => tracing::error!(%digest, error = %why, "content is damaged and could not be put aside"),
        }
        Error::Damaged(error)
    }

    /// Quarantines a file that was found damaged. Looks again under the digest's lock: a push may have replaced it.
    pub(crate) async fn put_aside(&self, digest: &Digest) -> Result<Option<PathBuf>, Error> {
        let lock = self.locks.lock(digest).await;
        self.hot.forget(digest);
        let wanted = digest.clone();
        self.blocking_with(lock, move |store| match store.verify(&wanted, &mut full_speed)? {
            Verdict::Corrupt => store.quarantine(&wanted).map(Some),
            _ => Ok(None),
        })
        .await
    }
}
