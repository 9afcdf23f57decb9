//! Uploads in progress: begin, append, status, cancel (end-4, 5, 13, 14). `closing` turns them into blobs.
//!
//! What limits an upload: `new_session` may refuse a session, and `admission` a body. `fill` checks the place of a
//! chunk and its stated length, and `upload_body` the length as the bytes arrive.

use std::sync::Arc;

use bytes::Bytes;
use content_store::UploadId;
use futures_util::Stream;
use serving::Permit;

use super::error::Progress;
use super::mount::MayPull;
use super::sessions::{Owner, Session, WriteLock};
use super::staging::Staging;
use super::sync_turns::ClientTurns;
use super::upload_body::{Plan, receive};
use super::{Caller, Error, Registry};
use crate::catalog::CatalogState;
use crate::oci::{Algorithm, Digest, RepositoryName};

/// A request body as a stream.
pub trait ByteChunks: Stream<Item = Result<Bytes, Error>> + Unpin + Send {}
impl<B: Stream<Item = Result<Bytes, Error>> + Unpin + Send> ByteChunks for B {}

/// How an upload begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// With a new session, hashed while it arrives with this algorithm (`digest-algorithm`), or sha256.
    Session(Option<Algorithm>),
    /// With a mount of existing content: from one repository, or from any that the client may read.
    Mount(Digest, Option<RepositoryName>, MayPull),
}

/// The result of beginning an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// A new session.
    Session(Progress),
    /// The repository now has the blob.
    Mounted(Digest),
}

/// The position of a body in the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// After the bytes received so far.
    Stream,
    /// From `first` to `last`, inclusive.
    Range {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
    },
}

/// A request body on its way into an upload.
#[derive(Debug)]
pub struct IncomingBody<B> {
    /// Its position in the blob.
    pub chunk: Chunk,
    /// Its length in bytes, if the request states it.
    pub length: Option<u64>,
    /// Its bytes.
    pub bytes: B,
    /// The permit for the thread that writes it.
    pub permit: Permit,
}

impl Registry {
    /// Handles POST: begins an upload, or mounts existing content.
    pub async fn begin_upload(
        self: &Arc<Self>,
        caller: &Caller,
        repository: &RepositoryName,
        start: Start,
    ) -> Result<Started, Error> {
        let algorithm = match start {
            Start::Session(algorithm) => algorithm,
            Start::Mount(digest, from, may_pull) => {
                if self.mount(caller, repository, &digest, (from, may_pull)).await? {
                    return Ok(Started::Mounted(digest));
                }
                None
            }
        };
        let session = self.new_session(caller, repository, algorithm).await?;
        tracing::debug!(request.id = %caller.request, client = %caller.address, %repository, upload.id = %session.id,
            "an upload was begun");
        Ok(Started::Session(session.progress()))
    }

    pub(super) async fn new_session(
        self: &Arc<Self>,
        caller: &Caller,
        repository: &RepositoryName,
        algorithm: Option<Algorithm>,
    ) -> Result<Arc<Session>, Error> {
        if self.catalog().state() == CatalogState::ReadOnly {
            return Err(Error::ReadOnly);
        }
        self.check_store()?;
        self.stage(caller, Staging::check).await?;
        let place = self.place(caller).await?;
        // In a task of its own, so that a client that leaves leaves no files without a session.
        let (registry, owner) = (Arc::clone(self), Owner::new(caller, repository));
        self.content.tasks.spawn(async move { registry.make_session(owner, algorithm, place).await }).await?
    }

    async fn make_session(
        &self,
        owner: Owner,
        algorithm: Option<Algorithm>,
        place: Permit,
    ) -> Result<Arc<Session>, Error> {
        let id = UploadId::from_random(crate::ids::random());
        let (text, new_id) = (owner.to_string(), id.clone());
        let upload = match self.blocking(move |store| store.create_upload(&new_id, &text, algorithm)).await {
            Err(Error::DiskFull) => return Err(Error::NoNewUploads),
            upload => upload?,
        };
        let session = Arc::new(Session::new(upload, owner, &self.staging, place));
        self.sessions.lock().insert(id, Arc::clone(&session));
        self.metrics.uploads_open.inc();
        Ok(session)
    }

    /// Handles GET: the progress of a session.
    pub fn upload_progress(
        &self,
        caller: &Caller,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<Progress, Error> {
        let session = self.sessions.find(&Owner::new(caller, repository), id)?;
        session.touch();
        Ok(session.progress())
    }

    /// Handles DELETE: ends the session at once. A request that is writing to it fails.
    pub async fn cancel_upload(
        self: &Arc<Self>,
        caller: &Caller,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<(), Error> {
        let session = self.end_session(&Owner::new(caller, repository), id)?;
        // Logged before any wait: the session has ended, even if the client leaves before the answer.
        tracing::info!(request.id = %caller.request, client = %caller.address, %repository, upload.id = %id,
            "an upload was cancelled");
        self.discard(session).await
    }

    pub(super) async fn drop_session(self: &Arc<Self>, owner: &Owner, id: &UploadId) -> Result<(), Error> {
        let session = self.end_session(owner, id)?;
        self.discard(session).await
    }

    /// Ends the session: from here on no request finds it.
    pub(super) fn end_session(&self, owner: &Owner, id: &UploadId) -> Result<Arc<Session>, Error> {
        let session = self.sessions.find(owner, id)?;
        if !session.cancel() {
            return Err(Error::UploadUnknown);
        }
        self.forget(id);
        Ok(session)
    }

    /// Removes the files of an ended session.
    pub(super) async fn discard(self: &Arc<Self>, session: Arc<Session>) -> Result<(), Error> {
        let free = Arc::clone(&session.upload).try_lock_owned().ok();
        let is_free = free.is_some();
        let registry = Arc::clone(self);
        let discarded = self.content.tasks.spawn(async move {
            let mut upload = match free {
                Some(upload) => upload,
                None => Arc::clone(&session.upload).lock_owned().await,
            };
            upload.take();
            let id = session.id.clone();
            registry.blocking_with(upload, move |store| store.discard_upload(&id)).await
        });
        // A request that still writes releases the session when it ends. This does not wait for it.
        if is_free {
            discarded.await??;
        }
        Ok(())
    }

    /// Handles PATCH: appends a chunk.
    pub async fn append_upload<B: ByteChunks>(
        self: &Arc<Self>,
        caller: &Caller,
        repository: &RepositoryName,
        id: &UploadId,
        body: IncomingBody<B>,
    ) -> Result<Progress, Error> {
        let IncomingBody { chunk, length, mut bytes, permit } = body;
        let session = self.sessions.find(&Owner::new(caller, repository), id)?;
        let lock = self.acquire(&session, chunk != Chunk::Stream, permit).await?;
        let turns = self.sync_turns.of(caller.address);
        self.fill(caller, lock, chunk, length, Some(turns), &mut bytes).await?;
        let progress = session.progress();
        tracing::debug!(request.id = %caller.request, client = %caller.address, %repository, upload.id = %id,
            offset = progress.offset, "an upload was appended to");
        Ok(progress)
    }

    /// Locks a session that another request may be writing to. With `waits`, as for a ranged chunk, it waits, and the
    /// offset decides. A stream is refused instead, since the order of two streams is undefined.
    pub(super) async fn acquire(
        &self,
        session: &Arc<Session>,
        waits: bool,
        permit: Permit,
    ) -> Result<WriteLock, Error> {
        let upload = Arc::clone(&session.upload);
        let guard = match waits {
            true => upload.lock_owned().await,
            false => upload.try_lock_owned().map_err(|_| Error::UploadBusy(session.progress()))?,
        };
        let lock = WriteLock { session: Arc::clone(session), guard, _permit: permit };
        if !session.is_open() {
            return Err(Error::UploadUnknown);
        }
        session.touch();
        Ok(lock)
    }

    /// Loads a session from its files, after a restart or a failure. The lock stays with the work, even if the client
    /// leaves meanwhile.
    pub(super) async fn load(&self, mut lock: WriteLock) -> Result<WriteLock, Error> {
        let loaded = self.blocking(move |store| {
            let Some(upload) = store.open_upload(&lock.session.id)? else { return Ok(None) };
            *lock.guard = Some(upload);
            Ok(Some(lock))
        });
        let mut lock = loaded.await?.ok_or(Error::UploadUnknown)?;
        let offset = lock.as_mut().offset();
        lock.session.reached(offset);
        Ok(lock)
    }

    /// Appends a body to an acquired session.
    pub(super) async fn fill<B: ByteChunks>(
        self: &Arc<Self>,
        caller: &Caller,
        lock: WriteLock,
        chunk: Chunk,
        length: Option<u64>,
        sync: Option<ClientTurns>,
        body: &mut B,
    ) -> Result<WriteLock, Error> {
        let mut lock = if lock.guard.is_some() { lock } else { self.load(lock).await? };
        let session = Arc::clone(&lock.session);
        let offset = lock.as_mut().offset();
        let exactly = expected_bytes(chunk, length, &Progress { id: session.id.clone(), offset })?;
        let limit = self.limits.max_blob_size;
        if limit > 0 && length.is_some_and(|length| offset.saturating_add(length) > limit) {
            return Err(Error::BlobTooLarge { limit });
        }
        let plan = Plan { exactly, max_blob_size: limit, sync, stage: self.stage_of(caller, &session) };
        let (mut lock, result) = receive(lock, plan, body).await?;
        if let Err(error) = result {
            if matches!(error, Error::Storage(_)) {
                // The last bytes may be on disk or not, so return to the last sync point.
                lock.guard.take();
                // This error is less useful than the first one, and the next request loads the session again.
                let _ = self.load(lock).await;
            }
            return Err(error);
        }
        session.reached(lock.as_mut().offset());
        if session.is_open() { Ok(lock) } else { Err(Error::UploadUnknown) }
    }

    pub(super) fn forget(&self, id: &UploadId) {
        if self.sessions.lock().remove(id).is_some() {
            self.metrics.uploads_open.dec();
        }
    }

    /// True if an open session of the repository keeps a blob from being collected.
    pub(crate) fn is_kept_by_session(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let sessions = self.sessions.lock();
        let mut began =
            sessions.values().filter(|session| session.owner.repository == *repository).map(|session| session.began);
        began.any(|began| self.grace.is_kept_by_session(began, repository, digest))
    }

    /// Number of open sessions.
    pub fn open_uploads(&self) -> usize {
        self.sessions.count()
    }

    /// Removes sessions that have been idle for longer than `gc.upload_expiry`. Returns their number.
    pub(crate) async fn expire_uploads(self: &Arc<Self>, dry_run: bool) -> Result<u64, Error> {
        let limit = self.limits.upload_expiry;
        let idle: Vec<Arc<Session>> =
            self.sessions.lock().values().filter(|session| session.idle() > limit).cloned().collect();
        let mut expired = 0;
        for session in idle {
            // A session being written to is not idle, however slow.
            if session.upload.try_lock().is_err() || session.idle() <= limit {
                continue;
            }
            if !dry_run {
                match self.drop_session(&session.owner, &session.id).await {
                    Ok(()) | Err(Error::UploadUnknown) => {}
                    Err(error) => return Err(error),
                }
            }
            expired += 1;
        }
        Ok(expired)
    }
}

/// The bytes that must arrive, if known. Fails for a chunk that does not fit.
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
            why: format!("Content-Range states {bytes} bytes, but Content-Length {length}"),
            progress: progress.clone(),
        }),
        _ => Ok(Some(bytes)),
    }
}
