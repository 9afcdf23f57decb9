//! Uploads: begin, mount, append, close, status, cancel (end-4, 5, 6, 11, 13, 14).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use futures_util::Stream;
use storage_backends::fs::{CommitUploadError, FinishedUpload, UploadId};

use super::error::Progress;
use super::sessions::{Held, Session};
use super::upload_body::{Plan, receive};
use super::{Error, Registry};
use crate::catalog::CatalogState;
use crate::catalog::command::{Command, CommitError, Refusal};
use crate::oci::{Algorithm, Digest, RepositoryName};

/// A request body, as the service sees it.
pub trait ByteChunks: Stream<Item = Result<Bytes, Error>> + Unpin + Send {}
impl<B: Stream<Item = Result<Bytes, Error>> + Unpin + Send> ByteChunks for B {}

/// How an upload begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// With a session, hashing with this algorithm as it comes (`digest-algorithm`), or sha256.
    Session(Option<Algorithm>),
    /// With content that may be in the registry already: from one repository, or from any that the client may read.
    Mount(Digest, Option<RepositoryName>),
}

/// What a begin led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// A session.
    Session(Progress),
    /// The repository holds the blob now.
    Mounted(Digest),
}

/// Which bytes of the blob a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Those that follow what is there.
    Stream,
    /// Those from `first` to `last`, both included.
    Range {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
    },
}

/// A session became a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The digest that the client gave.
    pub digest: Digest,
}

impl Registry {
    /// POST: begins an upload, or mounts what is there.
    pub async fn begin_upload(&self, repository: &RepositoryName, start: Start) -> Result<Started, Error> {
        let algorithm = match start {
            Start::Session(algorithm) => algorithm,
            Start::Mount(digest, from) => {
                if self.mount(repository, &digest, from).await? {
                    return Ok(Started::Mounted(digest));
                }
                None
            }
        };
        Ok(Started::Session(self.new_session(repository, algorithm).await?.progress()))
    }

    async fn new_session(
        &self,
        repository: &RepositoryName,
        algorithm: Option<Algorithm>,
    ) -> Result<Arc<Session>, Error> {
        if self.catalog.status().state == CatalogState::ReadOnly {
            return Err(Error::ReadOnly);
        }
        if self.sessions.count() >= self.limits.max_uploads {
            return Err(Error::TooMany("open uploads"));
        }
        let id = UploadId::from_random(crate::ids::random());
        let (owner, new_id, reserve) = (repository.to_string(), id.clone(), self.limits.reserve);
        let upload = self
            .blocking(move |store| match store.free_space()? < reserve {
                true => Ok(None),
                false => store.create_upload(&new_id, &owner, algorithm).map(Some),
            })
            .await;
        let upload = match upload {
            Ok(Some(upload)) => upload,
            Ok(None) | Err(Error::DiskFull) => return Err(Error::NoNewUploads),
            Err(error) => return Err(error),
        };
        let session = Arc::new(Session::new(id.clone(), repository.clone(), 0, Some(upload), Instant::now()));
        self.sessions.lock().insert(id, Arc::clone(&session));
        self.metrics.uploads_open.inc();
        self.pushes.began(repository);
        Ok(session)
    }

    /// True if the repository holds the blob now. Anything that stands in the way is no error: the client uploads instead.
    async fn mount(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<RepositoryName>,
    ) -> Result<bool, Error> {
        // More holders than a few are not asked: one that went away meanwhile is rare enough.
        const CANDIDATES: usize = 4;
        self.touch(repository, digest).await;
        let sources = if let Some(from) = from {
            vec![from]
        } else {
            let wanted = digest.clone();
            self.reading(move |catalog| Ok(catalog.holders(&wanted, CANDIDATES)?)).await?
        };
        for from in sources {
            let command = Command::MountBlob { repository: repository.clone(), digest: digest.clone(), from };
            match self.catalog.commit(vec![command]).await {
                Ok(_) => return Ok(true),
                Err(CommitError::Refused(Refusal::BlobUnknown | Refusal::RepositoryUnknown)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// GET: how far a session is.
    pub fn upload_progress(&self, repository: &RepositoryName, id: &UploadId) -> Result<Progress, Error> {
        let session = self.sessions.find(repository, id)?;
        session.touch();
        Ok(session.progress())
    }

    /// DELETE: the session is gone at once; a request that is writing to it fails.
    pub async fn cancel_upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<(), Error> {
        let session = self.sessions.find(repository, id)?;
        if !session.cancel() {
            return Err(Error::UploadUnknown);
        }
        self.forget(id);
        // Whoever holds the lock sees the mark when it is done, and removes the files.
        if let Ok(mut guard) = Arc::clone(&session.upload).try_lock_owned() {
            guard.take();
            let id = id.clone();
            self.blocking(move |store| store.discard_upload(&id)).await?;
        }
        Ok(())
    }

    /// PATCH: appends a chunk. `length` is the body's, where the request states one.
    pub async fn append_upload<B: ByteChunks>(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
        chunk: Chunk,
        length: Option<u64>,
        body: &mut B,
    ) -> Result<Progress, Error> {
        let session = self.sessions.find(repository, id)?;
        let held = self.hold(&session, chunk != Chunk::Stream).await?;
        let (_, result) = self.fill(held, chunk, length, true, body).await;
        result?;
        Ok(session.progress())
    }

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

    /// Takes the right to write to a session while another request may have it: a ranged chunk `waits`, and its offset
    /// decides; a stream is refused, since nobody can say what would follow what.
    async fn hold(&self, session: &Arc<Session>, waits: bool) -> Result<Held, Error> {
        let transfer = Arc::clone(&self.transfers).try_acquire_owned().map_err(|_| Error::TooMany("request bodies"))?;
        let lock = Arc::clone(&session.upload);
        let guard = match waits {
            true => lock.lock_owned().await,
            false => lock.try_lock_owned().map_err(|_| Error::UploadBusy(session.progress()))?,
        };
        let mut held = Held { session: Arc::clone(session), store: self.store.clone(), guard, _transfer: transfer };
        if !session.is_open() {
            return Err(Error::UploadUnknown);
        }
        if held.guard.is_none() {
            let id = session.id.clone();
            let upload = self.blocking(move |store| store.open_upload(&id)).await?.ok_or(Error::UploadUnknown)?;
            session.offset.store(upload.offset(), Ordering::Release);
            *held.guard = Some(upload);
        }
        session.touch();
        Ok(held)
    }

    /// Appends a body to a held session.
    async fn fill<B: ByteChunks>(
        &self,
        mut held: Held,
        chunk: Chunk,
        length: Option<u64>,
        sync: bool,
        body: &mut B,
    ) -> (Option<Held>, Result<(), Error>) {
        let session = Arc::clone(&held.session);
        let exactly =
            match expected_bytes(chunk, length, &Progress { id: session.id.clone(), offset: held.as_mut().offset() }) {
                Ok(exactly) => exactly,
                Err(error) => return (Some(held), Err(error)),
            };
        let limit = self.limits.max_blob_size;
        if limit > 0 && length.is_some_and(|length| held.as_mut().offset().saturating_add(length) > limit) {
            return (Some(held), Err(Error::BlobTooLarge { limit }));
        }
        let plan = Plan { exactly, max_blob_size: self.limits.max_blob_size, reserve: self.limits.reserve, sync };
        let (held, result) = receive(&self.store, held, plan, body).await;
        let mut held = match (held, result) {
            (Some(held), Ok(_)) => held,
            (Some(mut held), Err(error)) => {
                if matches!(error, Error::Storage(_)) {
                    // What the disk did with the last bytes is unknown: the next request takes up the synced state.
                    held.guard.take();
                }
                return (Some(held), Err(error));
            }
            (None, Ok(_)) => return (None, Err(Error::Internal("the upload got lost"))),
            (None, Err(error)) => return (None, Err(error)),
        };
        session.offset.store(held.as_mut().offset(), Ordering::Release);
        if !session.is_open() {
            return (Some(held), Err(Error::UploadUnknown));
        }
        (Some(held), Ok(()))
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

    fn forget(&self, id: &UploadId) {
        if self.sessions.lock().remove(id).is_some() {
            self.metrics.uploads_open.dec();
        }
    }

    /// True if a session of the repository is open: its client may count on blobs that nothing refers to yet.
    pub(crate) fn has_open_upload(&self, repository: &RepositoryName) -> bool {
        self.sessions.lock().values().any(|session| session.owner == *repository)
    }

    /// Number of open sessions.
    pub fn open_uploads(&self) -> usize {
        self.sessions.count()
    }

    /// Removes sessions that have been idle for longer than `registry.upload_expiry`; answers how many.
    pub(crate) async fn expire_uploads(&self, dry_run: bool) -> Result<u64, Error> {
        let limit = self.limits.upload_expiry;
        let idle: Vec<Arc<Session>> =
            self.sessions.lock().values().filter(|session| session.idle() > limit).cloned().collect();
        let mut expired = 0;
        for session in idle {
            // One that is being written to is not idle, however slow.
            if session.upload.try_lock().is_err() || session.idle() <= limit {
                continue;
            }
            if !dry_run {
                match self.cancel_upload(&session.owner, &session.id).await {
                    Ok(()) | Err(Error::UploadUnknown) => {}
                    Err(error) => return Err(error),
                }
            }
            expired += 1;
        }
        Ok(expired)
    }
}

/// How many bytes must come, if that is known; refuses a chunk that does not fit.
fn expected_bytes(chunk: Chunk, length: Option<u64>, progress: &Progress) -> Result<Option<u64>, Error> {
    let Chunk::Range { first, last } = chunk else {
        return Ok(None);
    };
    if first != progress.offset {
        return Err(Error::ChunkOutOfOrder(progress.clone()));
    }
    let bytes = last - first + 1;
    match length {
        Some(length) if length != bytes => Err(Error::ChunkSizeInvalid {
            why: format!("Content-Range says {bytes} bytes, Content-Length {length}"),
            progress: progress.clone(),
        }),
        _ => Ok(Some(bytes)),
    }
}
