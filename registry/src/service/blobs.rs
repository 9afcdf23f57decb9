//! Blobs: existence, content, deletion.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use content_store::StoreError;
use futures_util::Stream;

use super::{Caller, Error, Registry};
use crate::catalog::command::Command;
use crate::fetch::ColdContent;
use crate::oci::{Digest, RepositoryName};
use crate::{content, fetch};

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
    Cold(ColdBlob),
}

/// A blob that is only at a backend. Nothing is fetched until a range of it is asked for.
#[derive(Clone, Debug)]
pub struct ColdBlob(ColdContent);

impl ColdBlob {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// The bytes of ranges, one after the other, as they come and are verified. An error means that nothing can be had
    /// now. Waits for the first bytes, but not for long if the backend answers.
    pub async fn read(
        &self,
        ranges: Vec<Range<u64>>,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, Error> {
        Ok(self.0.read(ranges).await?.into_stream())
    }
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
            Found::Cold(cold) => cold.size(),
        }
    }
}

impl Registry {
    /// The length of a blob that the repository holds. The answer starts its grace period anew.
    pub async fn stat_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<u64, Error> {
        let size = self.known_blob(repository, digest).await?;
        if self.content.is_whole(digest, size).await? || self.is_placed(digest)? {
            return Ok(size);
        }
        // Too short or gone: either way a client that wants to push it shall do so.
        self.content.put_aside(digest).await?;
        Err(self.lost(digest))
    }

    /// The length of a blob by the catalog. Touched before it is looked for, or a collection could come between.
    async fn known_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<u64, Error> {
        self.touch(repository, digest).await;
        let size = self.catalog().blob(repository, digest)?;
        if size.is_none() {
            self.grace.forget(repository, digest);
        }
        size.ok_or(Error::BlobUnknown)
    }

    /// Opens a blob that the repository holds.
    pub async fn open_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Found, Error> {
        let size = self.known_blob(repository, digest).await?;
        let here = match size <= VERIFIED_WHOLE {
            true => self.content.read_small(digest, size).await.map(|bytes| bytes.map(Blob::Bytes)),
            false => self.content.open(digest, size).await.map(|file| file.map(|file| self.in_use(file, size))),
        };
        let error = match here {
            Ok(Some(blob)) => return Ok(Found::Here(blob)),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let cold = match &self.remote {
            Some(remote) => fetch::open(&self.content, &remote.origin, digest, size).await?,
            None => None,
        };
        match (cold, error) {
            (Some(cold), None | Some(content::Error::Damaged(_))) => Ok(Found::Cold(ColdBlob(cold))),
            (_, Some(error)) => Err(error.into()),
            (None, None) => Err(self.lost(digest)),
        }
    }

    /// Content in a local file or in memory, by the rules of a pull, for those who have a thread for it. Blocks.
    pub(crate) fn open_here(&self, digest: &Digest, size: u64) -> Result<Blob, StoreError> {
        match size <= VERIFIED_WHOLE {
            true => self.content.read_small_blocking(digest, size).map(Blob::Bytes),
            false => Ok(self.in_use(self.store().open_content(digest, size)?, size)),
        }
    }

    /// A file that is about to be read, marked as used.
    fn in_use(&self, file: File, size: u64) -> Blob {
        if let Some(remote) = &self.remote {
            remote.mark_used(&file);
        }
        Blob::File(file, size)
    }

    /// Content that the catalog says is held, read whole and verified, now or a short while ago.
    pub(super) async fn small_content(&self, digest: &Digest, size: u64) -> Result<Bytes, Error> {
        let error = match self.content.read_small(digest, size).await {
            Ok(Some(bytes)) => return Ok(bytes),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let cold = match &self.remote {
            Some(remote) => fetch::read_small(&self.content, &remote.origin, digest, size).await?,
            None => None,
        };
        match (cold, error) {
            (Some(bytes), None | Some(content::Error::Damaged(_))) => {
                self.content.hot.keep(digest, &bytes);
                Ok(bytes)
            }
            (_, Some(error)) => Err(error.into()),
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
        let done = self.content.tasks.spawn(async move {
            let committed = registry.catalog().commit(vec![command]).await.map_err(|error| match error.into() {
                Error::RepositoryUnknown => Error::BlobUnknown,
                other => other,
            })?;
            tracing::info!(request.id = %caller.request, client = %caller.address, %repository, %digest,
                "a blob was deleted");
            registry.content.remove_orphans(committed.orphaned).await;
            Ok(())
        });
        done.await?
    }

    /// The file is gone though the catalog holds it: the client is told that we do not have it, so that a push brings it
    /// back and a pull goes to the next mirror.
    pub(super) fn lost(&self, digest: &Digest) -> Error {
        self.content.report_lost(digest);
        Error::BlobUnknown
    }
}
