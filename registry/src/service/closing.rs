//! Closes an upload: its bytes are verified, stored and linked (end-4b, end-6).

use std::ops::ControlFlow;
use std::sync::Arc;

use content_store::{CommitUploadError, UploadId};
use serving::Permit;
use tokio::task::JoinError;

use super::sessions::{Outcome, Owner, WriteLock};
use super::uploads::{ByteChunks, Chunk, IncomingBody};
use super::{Caller, Error, Registry};
use crate::catalog::CatalogState;
use crate::catalog::command::Command;
use crate::oci::{Digest, RepositoryName};

/// A session that became a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The digest stated by the client.
    pub digest: Digest,
}

impl Registry {
    /// Handles PUT: appends the rest, verifies the whole, and links it into the repository.
    pub async fn close_upload<B: ByteChunks + 'static>(
        self: &Arc<Self>,
        caller: &Caller,
        repository: &RepositoryName,
        id: &UploadId,
        digest: Digest,
        body: IncomingBody<B>,
    ) -> Result<Closed, Error> {
        let IncomingBody { chunk, length, bytes, permit } = body;
        // A PUT without a body is often the retry of one whose answer was lost. It waits for the first to end.
        let waits = chunk != Chunk::Stream || length == Some(0);
        let owner = Owner::new(caller, repository);
        let lock = match self.acquire_for_closing(caller, &owner, id, &digest, waits, permit).await? {
            ControlFlow::Continue(lock) => lock,
            ControlFlow::Break(closed) => return Ok(closed),
        };
        let (registry, by, session) = (Arc::clone(self), caller.clone(), Arc::clone(&lock.session));
        let work = async move { registry.fill_and_publish(&by, lock, digest, chunk, length, bytes).await };
        let closed = self.run_as_task(work).await.inspect_err(|_| session.end_closing())??;
        tracing::debug!(request.id = %caller.request, client = %caller.address, %repository, upload.id = %id,
            digest = %closed.digest, "an upload became a blob");
        Ok(closed)
    }

    /// Handles POST with `?digest=`: a whole blob in one request. A failure leaves nothing behind.
    pub async fn upload_at_once<B: ByteChunks + 'static>(
        self: &Arc<Self>,
        caller: &Caller,
        repository: &RepositoryName,
        digest: Digest,
        body: IncomingBody<B>,
    ) -> Result<Closed, Error> {
        let (registry, by, owner) = (Arc::clone(self), caller.clone(), repository.clone());
        let work = async move { registry.push_at_once(&by, &owner, digest, body).await };
        let closed = self.run_as_task(work).await??;
        tracing::debug!(request.id = %caller.request, client = %caller.address, %repository, digest = %closed.digest,
            "a blob was uploaded at once");
        Ok(closed)
    }

    async fn push_at_once<B: ByteChunks>(
        self: &Arc<Self>,
        caller: &Caller,
        repository: &RepositoryName,
        digest: Digest,
        body: IncomingBody<B>,
    ) -> Result<Closed, Error> {
        let IncomingBody { chunk, length, bytes, permit } = body;
        let Some(algorithm) = digest.algorithm() else {
            return Err(Error::AlgorithmUnsupported(digest.algorithm_name().to_owned()));
        };
        let session = self.new_session(caller, repository, Some(algorithm)).await?;
        // No client knows its id, so it ends with this request, whatever the outcome.
        let _goes = Ephemeral { registry: Arc::clone(self), owner: session.owner.clone(), id: session.id.clone() };
        let lock = self.acquire(&session, false, permit).await?;
        self.fill_and_publish(caller, lock, digest, chunk, length, bytes).await
    }

    /// Runs the end of a push as a task, so that a client may leave once it has sent everything. If a client leaves
    /// earlier, its body ends early, and so does the task.
    async fn run_as_task(
        self: &Arc<Self>,
        work: impl Future<Output = Result<Closed, Error>> + Send + 'static,
    ) -> Result<Result<Closed, Error>, JoinError> {
        let result = self.content.tasks.spawn(work).await?;
        if let Ok(closed) = &result {
            self.acknowledge_blob(&closed.digest).await;
        }
        Ok(result)
    }

    /// Locks the session for this request; or returns its earlier outcome, if the client asks for that digest. Drops
    /// waiters that disconnect; otherwise their number would be unlimited.
    async fn acquire_for_closing(
        self: &Arc<Self>,
        caller: &Caller,
        owner: &Owner,
        id: &UploadId,
        digest: &Digest,
        waits: bool,
        permit: Permit,
    ) -> Result<ControlFlow<Closed, WriteLock>, Error> {
        let lock = match self.sessions.find(owner, id) {
            Ok(_) if digest.algorithm().is_none() => {
                return Err(Error::AlgorithmUnsupported(digest.algorithm_name().to_owned()));
            }
            Ok(session) => self.acquire(&session, waits, permit).await,
            Err(error) => Err(error),
        };
        match lock {
            Err(Error::UploadUnknown) => {
                self.closed_before(caller, owner, id, digest.clone()).await.map(ControlFlow::Break)
            }
            lock => lock.map(ControlFlow::Continue),
        }
    }

    async fn fill_and_publish<B: ByteChunks>(
        self: &Arc<Self>,
        caller: &Caller,
        lock: WriteLock,
        digest: Digest,
        chunk: Chunk,
        length: Option<u64>,
        mut body: B,
    ) -> Result<Closed, Error> {
        let lock = self.fill(caller, lock, chunk, length, None, &mut body).await?;
        self.publish(caller, lock, digest).await
    }

    /// Answers a PUT repeated after a lost 201, while the session is remembered and the blob exists. A blob that a full
    /// disk kept from being recorded is recorded now.
    async fn closed_before(
        &self,
        caller: &Caller,
        owner: &Owner,
        id: &UploadId,
        digest: Digest,
    ) -> Result<Closed, Error> {
        let repository = &owner.repository;
        match self.sessions.outcome(owner, id, &digest).ok_or(Error::UploadUnknown)? {
            Outcome::Linked => {
                self.stat_blob(repository, &digest).await.map_err(|_| Error::UploadUnknown)?;
            }
            Outcome::Unrecorded(size) => {
                let _guard = self.content.locks.lock(&digest).await;
                // A sweep may have removed it meanwhile, since it was unreferenced.
                if !self.content.is_whole(&digest, size).await? {
                    return Err(Error::UploadUnknown);
                }
                self.link(caller, repository, &digest, size).await?;
                self.sessions.remember_closed(id.clone(), owner.clone(), digest.clone(), Outcome::Linked);
            }
        }
        Ok(Closed { digest })
    }

    /// Verifies, stores and links the session's bytes. `service` describes the order of durable steps.
    async fn publish(&self, caller: &Caller, mut lock: WriteLock, digest: Digest) -> Result<Closed, Error> {
        let owner = lock.session.owner.clone();
        let id = lock.session.id.clone();
        // Check now, before the session's bytes become content that cannot be recorded.
        match self.catalog().state() {
            CatalogState::Ready => {}
            CatalogState::ReadOnly => return Err(Error::ReadOnly),
            CatalogState::Rebuilding | CatalogState::Closed => return Err(Error::Unavailable),
        }
        if !lock.session.begin_closing() {
            return Err(Error::UploadUnknown);
        }
        let upload = lock.guard.take().ok_or(Error::Internal("the upload got lost"))?;
        let wanted = digest.clone();
        let finished = match tokio::task::spawn_blocking(move || upload.finish(&wanted)).await? {
            Ok(finished) => finished,
            Err(CommitUploadError::DigestMismatch { computed, .. }) => {
                self.forget(&id);
                return Err(Error::DigestMismatch { claimed: digest, computed });
            }
            Err(CommitUploadError::UnsupportedAlgorithm { .. }) => {
                return Err(Error::AlgorithmUnsupported(digest.algorithm_name().to_owned()));
            }
            Err(CommitUploadError::Store(error)) => {
                self.release(lock).await;
                return Err(error.into());
            }
        };
        let size = finished.length();
        let _guard = self.content.locks.lock(&digest).await;
        if let Err(error) = tokio::task::spawn_blocking(move || finished.publish()).await? {
            self.release(lock).await;
            return Err(error.into());
        }
        let linked = self.link(caller, &owner.repository, &digest, size).await;
        let outcome = if linked.is_ok() { Outcome::Linked } else { Outcome::Unrecorded(size) };
        self.sessions.remember_closed(id.clone(), owner, digest.clone(), outcome);
        // Its bytes are a content file now. If nothing references it, a sweep removes it.
        self.forget(&id);
        linked.map(|()| Closed { digest })
    }

    /// Returns the session to its last sync point, so that the client can retry.
    async fn release(&self, lock: WriteLock) {
        lock.session.end_closing();
        let id = lock.session.id.clone();
        if let Err(error) = self.load(lock).await {
            tracing::warn!(upload.id = %id, %error, "an upload that could not be closed cannot be resumed");
        }
    }

    async fn link(
        &self,
        caller: &Caller,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
    ) -> Result<(), Error> {
        // The digest's lock is taken, so no collection works on it.
        let _ = self.grace.renew(repository, digest);
        let command = Command::LinkBlob { repository: repository.clone(), digest: digest.clone(), size };
        self.catalog().commit(vec![caller.creating(repository), command]).await?;
        self.catalog().place_soon(digest);
        self.metrics.blobs_pushed.inc();
        self.metrics.stored_bytes.inc_by(size);
        Ok(())
    }
}

/// A session that is cancelled on drop, unless it is closed by then.
struct Ephemeral {
    registry: Arc<Registry>,
    owner: Owner,
    id: UploadId,
}

impl Drop for Ephemeral {
    fn drop(&mut self) {
        if self.registry.sessions.find(&self.owner, &self.id).is_err() {
            return;
        }
        let (registry, owner, id) = (Arc::clone(&self.registry), self.owner.clone(), self.id.clone());
        // Without a runtime the process is ending, and the next start lists the session.
        if tokio::runtime::Handle::try_current().is_ok() {
            let tasks = self.registry.content.tasks.clone();
            tasks.spawn(async move {
                // The session may end by itself meanwhile.
                let _ = registry.drop_session(&owner, &id).await;
            });
        }
    }
}
