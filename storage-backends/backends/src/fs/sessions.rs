//! Puts as sessions of the content store; the next put of the same content resumes an interrupted one.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use content_store::digest::Digest;
use content_store::{CommitUploadError, Upload, UploadId};

use super::{FsBackend, failed};
use crate::source::read_piece;
use crate::{BackendError, Content, Source, SourceError};

/// The sessions that puts are using now.
#[derive(Debug, Default)]
pub(super) struct SessionsInUse {
    ids: Mutex<HashSet<UploadId>>,
    /// The number for a second concurrent put of the same content.
    next: AtomicU64,
}

/// A session in exclusive use.
#[derive(Debug)]
struct Session {
    upload: Upload,
    /// Declared after the upload, so that the upload is closed before others may open it.
    guard: SessionGuard,
}

#[derive(Debug)]
struct SessionGuard {
    backend: FsBackend,
    id: UploadId,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.backend.in_use().remove(&self.id);
    }
}

impl FsBackend {
    pub(super) async fn store(&self, source: &dyn Source) -> Result<(), BackendError> {
        let content = source.content().clone();
        let wanted = content.clone();
        let Some(mut session) = self.blocking(move |backend| backend.begin(&wanted)).await? else { return Ok(()) };
        loop {
            let offset = session.upload.offset();
            if offset >= content.length() {
                break;
            }
            let bytes = read_piece(source, offset, content.length()).await?;
            // If the future is dropped here, the thread closes the session, and it stays on the disk.
            session = self.blocking(move |_| session.upload.append(&bytes).map(|()| session).map_err(failed)).await?;
        }
        self.blocking(move |backend| backend.finish(session, &content)).await
    }

    /// The session of this content; `None` if the content is already stored.
    fn begin(&self, content: &Content) -> Result<Option<Session>, BackendError> {
        if self.has(content)? {
            return Ok(None);
        }
        let id = session_id(content.digest(), None);
        // Another put uses the session, so this one gets its own. After a crash, `check` removes it.
        let guard = self.claim(id).unwrap_or_else(|| self.claim_fresh(content));
        let upload = match self.store.open_upload(&guard.id).map_err(failed)? {
            Some(upload) if upload.offset() <= content.length() && upload.owner() == owner(content) => upload,
            stale => {
                drop(stale);
                self.store.discard_upload(&guard.id).map_err(failed)?;
                self.store.create_upload(&guard.id, owner(content), Some(content.algorithm())).map_err(failed)?
            }
        };
        Ok(Some(Session { upload, guard }))
    }

    fn finish(&self, session: Session, content: &Content) -> Result<(), BackendError> {
        let Session { upload, guard } = session;
        let finished = upload.finish(content.digest()).map_err(|error| match error {
            CommitUploadError::DigestMismatch { .. } => SourceError::Damaged { start: 0, end: content.length() }.into(),
            CommitUploadError::UnsupportedAlgorithm { .. } => BackendError::Refused { cause: error.into() },
            CommitUploadError::Store(error) => failed(error),
        })?;
        let _names = self.lock_names();
        finished.publish().map_err(failed)?;
        drop(guard);
        Ok(())
    }

    /// Removes the session of an interrupted put of this content.
    pub(super) fn discard_session(&self, digest: &Digest) -> Result<(), BackendError> {
        if let Some(unused) = self.claim(session_id(digest, None)) {
            self.store.discard_upload(&unused.id).map_err(failed)?;
        }
        Ok(())
    }

    /// Removes sessions that cannot be resumed: those of second concurrent puts, left by a crash.
    pub(super) fn sweep(&self) -> Result<(), BackendError> {
        for session in self.store.uploads().map_err(failed)? {
            let known = session.owner.parse::<Digest>().is_ok_and(|digest| session_id(&digest, None) == session.id);
            if !known && let Some(unused) = self.claim(session.id) {
                self.store.discard_upload(&unused.id).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn claim(&self, id: UploadId) -> Option<SessionGuard> {
        let free = self.in_use().insert(id.clone());
        free.then(|| SessionGuard { backend: self.clone(), id })
    }

    fn claim_fresh(&self, content: &Content) -> SessionGuard {
        loop {
            let number = self.shared.sessions.next.fetch_add(1, Ordering::Relaxed);
            if let Some(guard) = self.claim(session_id(content.digest(), Some(number))) {
                return guard;
            }
        }
    }

    fn in_use(&self) -> MutexGuard<'_, HashSet<UploadId>> {
        self.shared.sessions.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owner(content: &Content) -> &str {
    content.digest().as_str()
}

/// The first session of a digest always has the same name, so that a put finds the one of an interrupted put.
fn session_id(digest: &Digest, number: Option<u64>) -> UploadId {
    let hash = blake3::hash(format!("{digest} {number:?}").as_bytes());
    let mut name = [0; 16];
    name.copy_from_slice(&hash.as_bytes()[..16]);
    UploadId::from_random(name)
}
