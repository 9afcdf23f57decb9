//! Blobs: existence, content, deletion.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use content_store::{StoreError, Verdict, full_speed};

use super::{Caller, Error, Registry};
use crate::catalog::command::Command;
use crate::oci::{Digest, RepositoryName};
use crate::placement::ColdBlob;

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

/// Where a blob was found.
#[derive(Debug)]
pub enum Found {
    /// Here.
    Here(Blob),
    /// Only at a backend.
    Elsewhere(ColdBlob),
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

impl Found {
    /// The blob's length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Found::Here(blob) => blob.size(),
            Found::Elsewhere(cold) => cold.size(),
        }
    }
}

impl Registry {
    /// The length of a blob that the repository holds. The answer starts its grace period anew.
    pub async fn stat_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<u64, Error> {
        let size = self.known_blob(repository, digest).await?;
        if self.is_whole(digest, size).await? || self.is_placed(digest)? {
            return Ok(size);
        }
        // Too short or gone: either way a client that wants to push it shall do so.
        self.put_aside(digest).await?;
        Err(self.lost(digest))
    }

    /// The length of a blob by the catalog. Touched before it is looked for, or a collection could come between.
    async fn known_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<u64, Error> {
        self.touch(repository, digest).await;
        let size = self.catalog.blob(repository, digest)?;
        if size.is_none() {
            self.grace.forget(repository, digest);
        }
        size.ok_or(Error::BlobUnknown)
    }

    /// Opens a blob that the repository holds.
    pub async fn open_blob(self: &Arc<Self>, repository: &RepositoryName, digest: &Digest) -> Result<Found, Error> {
        let size = self.known_blob(repository, digest).await?;
        let here = match size <= VERIFIED_WHOLE {
            true => self.small_here(digest, size).await.map(Blob::Bytes),
            false => self.file_here(digest, size).await.map(|file| Blob::File(file, size)),
        };
        let error = match here {
            Ok(blob) => return Ok(Found::Here(blob)),
            Err(error) => error,
        };
        match (self.cold(digest, size).await?, error) {
            (Some(cold), None | Some(Error::ContentDamaged(_))) => Ok(Found::Elsewhere(cold)),
            (_, Some(error)) => Err(error),
            (None, None) => Err(self.lost(digest)),
        }
    }

    /// Content in a local file or in memory, by the rules of a pull, for those who have a thread for it. Blocks.
    pub(crate) fn open_here(&self, digest: &Digest, size: u64) -> Result<Blob, StoreError> {
        if size > VERIFIED_WHOLE {
            let file = self.store.open_content(digest, size)?;
            self.note_use(&file);
            return Ok(Blob::File(file, size));
        }
        if let Some(bytes) = self.hot.get(digest) {
            return Ok(Blob::Bytes(bytes));
        }
        let bytes = Bytes::from(self.store.read_verified(digest, size)?);
        self.hot.keep(digest, &bytes);
        Ok(Blob::Bytes(bytes))
    }

    fn note_use(&self, file: &File) {
        if let Some(remote) = &self.remote {
            remote.note_use(file);
        }
    }

    /// Content in a local file; `Err(None)`: it is not here.
    async fn file_here(&self, digest: &Digest, size: u64) -> Result<File, Option<Error>> {
        let (store, wanted) = (self.store.clone(), digest.clone());
        let opened = tokio::task::spawn_blocking(move || store.open_content(&wanted, size));
        match opened.await.map_err(Error::from)? {
            Ok(file) => {
                self.note_use(&file);
                Ok(file)
            }
            Err(StoreError::Missing { .. }) => Err(None),
            Err(error) => Err(Some(self.damaged(digest, error).await)),
        }
    }

    /// Small content in a local file or in memory, verified; `Err(None)`: it is not here.
    async fn small_here(&self, digest: &Digest, size: u64) -> Result<Bytes, Option<Error>> {
        if let Some(bytes) = self.hot.get(digest) {
            return Ok(bytes);
        }
        let (store, wanted) = (self.store.clone(), digest.clone());
        let reading = tokio::task::spawn_blocking(move || store.read_verified(&wanted, size));
        match reading.await.map_err(Error::from)? {
            Ok(bytes) => {
                let bytes = Bytes::from(bytes);
                self.hot.keep(digest, &bytes);
                Ok(bytes)
            }
            Err(StoreError::Missing { .. }) => Err(None),
            Err(error) => Err(Some(self.damaged(digest, error).await)),
        }
    }

    /// Content that the catalog says is held, read whole and verified, now or a short while ago.
    pub(super) async fn small_content(self: &Arc<Self>, digest: &Digest, size: u64) -> Result<Bytes, Error> {
        let error = match self.small_here(digest, size).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => error,
        };
        match (self.cold_bytes(digest, size).await?, error) {
            (Some(bytes), None | Some(Error::ContentDamaged(_))) => {
                self.hot.keep(digest, &bytes);
                Ok(bytes)
            }
            (_, Some(error)) => Err(error),
            (None, None) => Err(self.lost(digest)),
        }
    }

    /// DELETE of a blob: the repository no longer holds it; the file goes with its last holder.
    pub async fn delete_blob(
        self: &Arc<Self>,
        caller: &Caller,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), Error> {
        if !self.limits.delete {
            return Err(Error::DeleteDisabled);
        }
        let command = Command::UnlinkBlob {
            repository: repository.clone(),
            digest: digest.clone(),
            even_if_referenced: self.limits.delete_referenced_blobs,
        };
        // Its own task: a client that leaves shall not keep the delete out of the log.
        let (registry, caller) = (Arc::clone(self), caller.clone());
        let (repository, digest) = (repository.clone(), digest.clone());
        let done = self.tasks.spawn(async move {
            let committed = registry.catalog.commit(vec![command]).await.map_err(|error| match error.into() {
                Error::RepositoryUnknown => Error::BlobUnknown,
                other => other,
            })?;
            tracing::info!(request.id = %caller.request, client = %caller.address, %repository, %digest,
                "a blob was deleted");
            registry.remove_orphans(committed.orphaned).await;
            Ok(())
        });
        done.await?
    }

    /// The file is gone though the catalog holds it: the client is told that we do not have it, so that a push brings it
    /// back and a pull goes to the next mirror.
    pub(crate) fn lost(&self, digest: &Digest) -> Error {
        if !self.catalog.is_held(digest).unwrap_or(true) {
            // Deleted while it was being looked at.
            return Error::BlobUnknown;
        }
        tracing::error!(%digest, "content is held but its file is missing: push it again, or see `skyberth fsck`");
        self.hot.forget(digest);
        self.metrics.content_damaged.inc();
        Error::BlobUnknown
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
        Error::ContentDamaged(error)
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

    /// True if the file of content that a repository holds is there, in its whole length.
    pub(super) async fn is_whole(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let wanted = digest.clone();
        Ok(self.blocking(move |store| store.stat(&wanted)).await? == Some(size))
    }
}
