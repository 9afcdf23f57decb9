//! The end of an upload: its bytes are verified, stored and linked (end-4b, end-6).

use std::sync::Arc;

use storage_backends::fs::{CommitUploadError, FinishedUpload, UploadId};

use super::sessions::Held;
use super::uploads::{ByteChunks, Chunk};
use super::{Error, Registry};
use crate::catalog::command::Command;
use crate::oci::{Digest, RepositoryName};

/// A session became a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The digest that the client gave.
    pub digest: Digest,
}

impl Registry {
    /// PUT: appends what is left, verifies the whole against the digest, and links it into the repository.
    pub async fn close_upload<B: ByteChunks>(
        self: &Arc<Self>,
        repository: &RepositoryName,
        id: &UploadId,
        digest: Digest,
        chunk: Chunk,
        length: Option<u64>,
        body: &mut B,
    ) -> Result<Closed, Error> {
        let session = match self.sessions.find(repository, id) {
            Err(Error::UploadUnknown) => return self.closed_before(repository, id, digest).await,
            other => other?,
        };
        if digest.algorithm().is_none() {
            return Err(Error::AlgorithmUnsupported(digest.algorithm_name().to_owned()));
        }
        // A PUT without a body is often the repetition of one whose answer was lost: it waits for the first to end.
        let waits = chunk != Chunk::Stream || length == Some(0);
        let held = match self.hold(&session, waits).await {
            Err(Error::UploadUnknown) => return self.closed_before(repository, id, digest).await,
            other => other?,
        };
        let (held, result) = self.fill(held, chunk, length, false, body).await;
        result?;
        let held = held.ok_or(Error::Internal("a filled session was not handed back"))?;
        // From here on the client may leave: what it sent is complete, so it is brought to its end.
        let registry = Arc::clone(self);
        let done = self.tasks.spawn(async move { registry.publish(held, digest).await });
        done.await.unwrap_or(Err(Error::Internal("closing the upload panicked")))
    }

    /// POST with `?digest=`: the whole blob in one request. Nothing is left of it if it fails.
    pub async fn upload_at_once<B: ByteChunks>(
        self: &Arc<Self>,
        repository: &RepositoryName,
        digest: Digest,
        length: Option<u64>,
        body: &mut B,
    ) -> Result<Closed, Error> {
        let Some(algorithm) = digest.algorithm() else {
            return Err(Error::AlgorithmUnsupported(digest.algorithm_name().to_owned()));
        };
        let session = self.new_session(repository, Some(algorithm)).await?;
        let result = self.close_upload(repository, &session.id, digest, Chunk::Stream, length, body).await;
        if result.is_err() {
            // Already gone where the digest did not fit.
            let _ = self.cancel_upload(repository, &session.id).await;
        }
        result
    }

    /// A PUT repeated after a lost 201 gets its 201, as long as the session is remembered and the blob still there.
    async fn closed_before(&self, repository: &RepositoryName, id: &UploadId, digest: Digest) -> Result<Closed, Error> {
        if !self.sessions.was_closed(repository, id, &digest) {
            return Err(Error::UploadUnknown);
        }
        self.stat_blob(repository, &digest).await.map_err(|_| Error::UploadUnknown)?;
        Ok(Closed { digest })
    }

    /// Verifies, stores and links what a session holds. The order of durable steps stands at the top of this module tree.
    async fn publish(&self, mut held: Held, digest: Digest) -> Result<Closed, Error> {
        let repository = held.session.owner.clone();
        let id = held.session.id.clone();
        if !held.session.begin_closing() {
            return Err(Error::UploadUnknown);
        }
        let upload = held.guard.take().ok_or(Error::Internal("the upload got lost"))?;
        let wanted = digest.clone();
        let finished = tokio::task::spawn_blocking(move || upload.finish(&wanted)).await;
        let finished = match finished {
            Ok(Ok(finished)) => finished,
            Ok(Err(CommitUploadError::DigestMismatch { computed, .. })) => {
                self.forget(&id);
                return Err(Error::DigestMismatch { claimed: digest, computed });
            }
            Ok(Err(CommitUploadError::UnsupportedAlgorithm { .. })) => {
                return Err(Error::AlgorithmUnsupported(digest.algorithm_name().to_owned()));
            }
            Ok(Err(CommitUploadError::Store(error))) => {
                held.session.reopen();
                return Err(error.into());
            }
            Err(_) => return Err(Error::Internal("verifying the upload panicked")),
        };
        if let Err(error) = self.link(&repository, &digest, finished).await {
            // The session's files became a content file; if nobody holds it, the next sweep takes it.
            self.forget(&id);
            return Err(error);
        }
        self.sessions.remember_closed(id.clone(), repository, digest.clone());
        self.forget(&id);
        Ok(Closed { digest })
    }

    async fn link(&self, repository: &RepositoryName, digest: &Digest, finished: FinishedUpload) -> Result<(), Error> {
        let size = finished.length();
        let _guard = self.locks.lock(digest).await;
        match tokio::task::spawn_blocking(move || finished.publish()).await {
            Ok(result) => result?,
            Err(_) => return Err(Error::Internal("publishing the upload panicked")),
        }
        // The lock is held, so collection cannot be at work on this digest: a plain touch is enough.
        let _ = self.grace.touch(repository, digest);
        let command = Command::LinkBlob { repository: repository.clone(), digest: digest.clone(), size };
        self.catalog.commit(vec![command]).await?;
        self.pushes.blob(repository, digest, size);
        self.metrics.blobs_pushed.inc();
        Ok(())
    }
}
