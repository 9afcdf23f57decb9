//! Blobs: existence, content, deletion.

use std::fs::File;

use bytes::Bytes;
use storage_backends::fs::StoreError;

use super::{Error, Registry};
use crate::catalog::command::Command;
use crate::oci::{Digest, RepositoryName};

/// Blobs up to this size are read whole and checked against their digest before the first byte leaves.
const VERIFIED_WHOLE: u64 = 64 * 1024;

/// A blob that can be sent.
#[derive(Debug)]
pub enum Blob {
    /// Read and verified.
    Bytes(Bytes),
    /// Open, its length checked; held open until it is sent, so a deletion meanwhile does not cut the client.
    File(File, u64),
}

impl Blob {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Blob::Bytes(bytes) => bytes.len() as u64,
            Blob::File(_, size) => *size,
        }
    }
}

impl Registry {
    /// The length of a blob that the repository holds. The answer starts its grace period anew.
    pub async fn stat_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<u64, Error> {
        self.touch(repository, digest).await;
        let size = self.catalog.blob(repository, digest)?.ok_or(Error::BlobUnknown)?;
        let wanted = digest.clone();
        match self.blocking(move |store| store.stat(&wanted)).await? {
            Some(_) => Ok(size),
            None => Err(self.lost(digest)),
        }
    }

    /// Opens a blob that the repository holds.
    pub async fn open_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Blob, Error> {
        self.touch(repository, digest).await;
        let size = self.catalog.blob(repository, digest)?.ok_or(Error::BlobUnknown)?;
        if size <= VERIFIED_WHOLE {
            return self.small_content(digest, size).await.map(Blob::Bytes);
        }
        let (store, wanted) = (self.store.clone(), digest.clone());
        match tokio::task::spawn_blocking(move || store.open_content(&wanted, size)).await {
            Ok(Ok(file)) => Ok(Blob::File(file, size)),
            Ok(Err(StoreError::Missing { .. })) => Err(self.lost(digest)),
            Ok(Err(error)) => Err(self.damaged(digest, error).await),
            Err(_) => Err(Error::Internal("file work panicked")),
        }
    }

    /// Content that the catalog says is held, read whole and verified, now or a short while ago.
    pub(super) async fn small_content(&self, digest: &Digest, size: u64) -> Result<Bytes, Error> {
        if let Some(bytes) = self.hot.get(digest) {
            return Ok(bytes);
        }
        let (store, wanted) = (self.store.clone(), digest.clone());
        match tokio::task::spawn_blocking(move || store.read_verified(&wanted, size)).await {
            Ok(Ok(bytes)) => {
                let bytes = Bytes::from(bytes);
                self.hot.keep(digest, &bytes);
                Ok(bytes)
            }
            Ok(Err(StoreError::Missing { .. })) => Err(self.lost(digest)),
            Ok(Err(error)) => Err(self.damaged(digest, error).await),
            Err(_) => Err(Error::Internal("file work panicked")),
        }
    }

    /// DELETE of a blob: the repository no longer holds it; the file goes with its last holder.
    pub async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        if !self.limits.delete {
            return Err(Error::DeleteDisabled);
        }
        let command = Command::UnlinkBlob {
            repository: repository.clone(),
            digest: digest.clone(),
            even_if_referenced: self.limits.delete_referenced_blobs,
        };
        let committed = self.catalog.commit(vec![command]).await.map_err(|error| match error.into() {
            Error::RepositoryUnknown => Error::BlobUnknown,
            other => other,
        })?;
        self.remove_orphans(committed.orphaned).await;
        Ok(())
    }

    /// The file is gone though the catalog holds it: the client is told that we do not have it, so that a push brings it
    /// back and a pull goes to the next mirror.
    pub(crate) fn lost(&self, digest: &Digest) -> Error {
        tracing::error!(%digest, "content is held but its file is missing: push it again, or see `skyberth fsck`");
        self.hot.forget(digest);
        self.metrics.content_damaged.inc();
        Error::BlobUnknown
    }

    /// Small content whose file was put aside is not served from memory any longer.
    pub(crate) fn forget_hot(&self, digest: &Digest) {
        self.hot.forget(digest);
    }

    /// Puts a damaged file aside, so that a push of the same content brings it back.
    pub(crate) async fn damaged(&self, digest: &Digest, error: StoreError) -> Error {
        if !matches!(error, StoreError::WrongLength { .. } | StoreError::Corrupt { .. }) {
            return error.into();
        }
        self.hot.forget(digest);
        self.metrics.content_damaged.inc();
        let guard = self.locks.lock(digest).await;
        let wanted = digest.clone();
        match self.blocking(move |store| store.quarantine(&wanted)).await {
            Ok(path) => {
                tracing::error!(%digest, quarantine = %path.display(), "content is damaged, its file was put aside");
            }
            Err(why) => tracing::error!(%digest, error = %why, "content is damaged and could not be put aside"),
        }
        drop(guard);
        Error::ContentDamaged(error)
    }
}
