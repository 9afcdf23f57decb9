//! Reads content in local files, and quarantines damaged files.

use std::fs::File;
use std::path::PathBuf;

use bytes::Bytes;
use content_store::{StoreError, Verdict, full_speed};

use super::{Error, LocalContent};
use crate::oci::Digest;

impl LocalContent {
    /// Opens a local file and checks its length; `None` if it is not here. A damaged file is quarantined.
    pub(crate) async fn open(&self, digest: &Digest, size: u64) -> Result<Option<File>, Error> {
        let (store, wanted) = (self.store.clone(), digest.clone());
        let opened = tokio::task::spawn_blocking(move || store.open_content(&wanted, size));
        match opened.await? {
            Ok(file) => Ok(Some(file)),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(self.damaged(digest, error).await),
        }
    }

    /// Small content, verified, from a local file or memory; `None` if it is not here. A damaged file is quarantined.
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

    /// Small content, verified, as [`LocalContent::read_small`] reads it. Blocks, and quarantines nothing.
    pub(crate) fn read_small_blocking(&self, digest: &Digest, size: u64) -> Result<Bytes, StoreError> {
        if let Some(bytes) = self.hot.get(digest) {
            return Ok(bytes);
        }
        let bytes = Bytes::from(self.store.read_verified(digest, size)?);
        self.hot.keep(digest, &bytes);
        Ok(bytes)
    }

    /// True if the file is here and has this length.
    pub(crate) async fn is_whole(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let wanted = digest.clone();
        Ok(self.blocking(move |store| store.stat(&wanted)).await? == Some(size))
    }

    /// Logs that referenced content has no file. Content that was deleted meanwhile is not reported.
    pub(crate) fn report_lost(&self, digest: &Digest) {
        if self.catalog.is_referenced(digest).unwrap_or(true) {
            tracing::error!(%digest, "the file of referenced content is missing: push it, or see `skyberth fsck`");
            self.hot.forget(digest);
            self.metrics.content_damaged.inc();
        }
    }

    /// Quarantines a damaged file, so that a push of the same content brings it back.
    pub(crate) async fn damaged(&self, digest: &Digest, error: StoreError) -> Error {
        if !matches!(error, StoreError::WrongLength { .. } | StoreError::Corrupt { .. }) {
            return error.into();
        }
        self.metrics.content_damaged.inc();
        match self.put_aside(digest).await {
            Ok(Some(path)) => {
                tracing::error!(%digest, quarantine = %path.display(), "content is damaged, its file was quarantined");
            }
            Ok(None) => {}
            Err(why) => tracing::error!(%digest, error = %why, "content is damaged and could not be quarantined"),
        }
        Error::Damaged(error)
    }

    /// Quarantines a damaged file. Verifies it again under the digest's lock, since a push may have replaced it.
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
