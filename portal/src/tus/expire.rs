//! The removal of abandoned uploads, of finished ones after a while, and of those that a client terminates.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use content_store::UploadId;
use serving::{Holder, Permit, UsedUp};
use tokio_util::sync::CancellationToken;

use super::session::{Held, Session};
use super::{TusError, Uploads};

/// Time between two searches for expired uploads.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// Longest idle time of content stored ahead, which occupies one of the store's uploads.
const AHEAD_EXPIRY: Duration = Duration::from_mins(1);

impl Uploads {
    /// DELETE: removes the upload in any state. The skyfile of a finished upload stays.
    pub(crate) async fn terminate(self: &Arc<Self>, id: &UploadId) -> Result<(), TusError> {
        let session = self.sessions.find(id)?;
        let held = session.try_hold()?;
        if session.view().claimed_by.is_some() {
            return Err(TusError::Busy);
        }
        let uploads = Arc::clone(self);
        self.blocking(move || uploads.remove(&session, held)).await
    }

    /// Removes uploads that were idle for too long at `now`; returns their number. Blocks.
    pub(crate) fn expire(&self, now: SystemTime) -> Result<usize, TusError> {
        let idle = |limit| -> Vec<Arc<Session>> {
            self.sessions.lock().values().filter(|session| session.is_idle(now, limit)).cloned().collect()
        };
        for session in idle(AHEAD_EXPIRY) {
            if let Ok(mut held) = session.try_hold() {
                held.take();
            }
        }
        let mut expired = 0;
        for session in idle(self.limits.expiry) {
            // An upload with a write or a finish in progress is not idle, however slow it is. Parts are removed after
            // their final upload.
            if session.view().claimed_by.is_some() {
                continue;
            }
            let Ok(held) = session.try_hold() else { continue };
            if session.is_idle(now, self.limits.expiry) {
                self.remove(&session, held)?;
                expired += 1;
            }
        }
        Ok(expired)
    }

    /// Removes expired uploads until `stop`.
    pub(crate) async fn expire_forever(self: &Arc<Self>, stop: &CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(SWEEP_EVERY)).await.is_some() {
            let uploads = Arc::clone(self);
            match self.blocking(move || uploads.expire(SystemTime::now())).await {
                Ok(0) => {}
                Ok(expired) => tracing::info!(expired, "uploads expired"),
                Err(error) => tracing::error!(%error, "expired uploads cannot be removed"),
            }
        }
    }

    /// A place in the table for one more upload. If there is none, an older upload makes room for it.
    pub(super) async fn place(self: &Arc<Self>, holder: Holder) -> Result<Permit, TusError> {
        let places = &self.sessions.places;
        loop {
            let of = match places.try_take(holder) {
                Ok(place) => return Ok(place),
                Err(UsedUp::Share(_)) => Some(holder),
                Err(UsedUp::Pool(_)) => None,
            };
            let Some((session, held)) = self.sessions.first_to_yield(of, SystemTime::now()) else {
                return Ok(places.take(holder).await?);
            };
            let uploads = Arc::clone(self);
            self.blocking(move || uploads.remove(&session, held)).await?;
        }
    }

    fn remove(&self, session: &Session, held: Held) -> Result<(), TusError> {
        self.sessions.remove(session);
        // A crash before this: the upload exists again after the start.
        self.staging.remove(&session.id)?;
        drop(held);
        Ok(())
    }
}
