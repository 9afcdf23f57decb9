//! Blobs: existence checks, reads, deletes.
//!
//! Referenced content may have no local file. If the catalog has a record of a copy, `fetch` reads the copy, and the
//! client gets 503 while no portal delivers it. Without such a record the content is unknown, which is 404. A damaged
//! file is quarantined. The read that finds it is answered 500, unless there is a copy.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use content_store::StoreError;
use futures_util::Stream;

use super::{Caller, Error, Registry};
use crate::catalog::command::{Command, Precondition};
use crate::fetch::ColdContent;
use crate::oci::{Digest, RepositoryName};
use crate::{content, fetch};

/// Blobs up to this size are read whole and verified before the first byte is sent.
const VERIFIED_WHOLE: u64 = 64 * 1024;

/// A local blob, ready to be sent.
#[derive(Debug)]
pub enum Blob {
    /// Read and verified.
    Bytes(Bytes),
    /// An open file of the right length. It stays open until it is sent, so a deletion does not interrupt the client.
    File(File, u64),
}

/// Where a blob is.
#[derive(Debug)]
pub enum Found {
    /// On this node.
    Here(Blob),
    /// Only at a backend.
    Cold(ColdBlob),
}

/// A blob that is only at a backend. Nothing is fetched until a range of it is asked for.
#[derive(Clone, Debug)]
pub struct ColdBlob(ColdContent);

impl ColdBlob {
    /// The blob's length in bytes.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// The bytes of a range, as [`ColdBlob::read_several`] gives them.
    pub async fn read(&self, range: Range<u64>) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, Error> {
        self.read_several(vec![range]).await
    }

    /// The bytes of ranges, one after another, as they are verified. It waits for the first verified bytes, but only
    /// for a short time if the backend answers other calls. An error means that nothing can be read now.
    pub async fn read_several(
        &self,
        ranges: Vec<Range<u64>>,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, Error> {
        Ok(self.0.read_several(ranges).await?.into_stream())
    }
}

impl Blob {
    /// The blob's length in bytes.
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
    /// The length of a blob of the repository. The answer restarts its grace period.
    pub async fn stat_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<u64, Error> {
        let size = self.known_blob(repository, digest).await?;
        if self.content.is_whole(digest, size).await? || self.is_placed(digest)? {
            return Ok(size);
        }
        // Its file is too short or gone. The client may push it again, so report it as unknown.
        self.content.put_aside(digest).await?;
        Err(self.lost(digest))
    }

    /// The length of a blob by the catalog. The blob is touched before the lookup, or a collection could come between.
    async fn known_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<u64, Error> {
        if !self.touch(repository, digest).await? {
            return Err(Error::BlobUnknown);
        }
        let size = self.catalog().blob(repository, digest)?;
        if size.is_none() {
            self.grace.forget(repository, digest);
        }
        size.ok_or(Error::BlobUnknown)
    }

    /// Opens a blob of the repository.
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

    /// Opens local content like a pull, for callers on a blocking thread. Blocks.
    pub(crate) fn open_here(&self, digest: &Digest, size: u64) -> Result<Blob, StoreError> {
        match size <= VERIFIED_WHOLE {
            true => self.content.read_small_blocking(digest, size).map(Blob::Bytes),
            false => Ok(self.in_use(self.store().open_content(digest, size)?, size)),
        }
    }

    /// Marks a file as used, and wraps it for sending.
    fn in_use(&self, file: File, size: u64) -> Blob {
        if let Some(remote) = &self.remote {
            remote.mark_used(&file);
        }
        Blob::File(file, size)
    }

    /// Reads small referenced content, verified now or a short while ago.
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

    /// Deletes a blob from a repository. Its file is removed if nothing else references it.
    pub async fn delete_blob(
        self: &Arc<Self>,
        caller: &Caller,
        repository: &RepositoryName,
        digest: &Digest,
        precondition: Option<Precondition>,
    ) -> Result<(), Error> {
        if !self.limits.delete {
            return Err(Error::DeleteDisabled);
        }
        let command = Command::UnlinkBlob {
            repository: repository.clone(),
            digest: digest.clone(),
            even_if_referenced: self.limits.delete_referenced_blobs,
            precondition,
        };
        // In a task of its own, so that a delete is logged even if the client leaves.
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

    /// The error for referenced content without a file. The client is told that the blob is unknown: then a push brings
    /// it back, and a pull goes to the next mirror.
    pub(super) fn lost(&self, digest: &Digest) -> Error {
        self.content.report_lost(digest);
        Error::BlobUnknown
    }
}
