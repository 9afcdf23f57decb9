//! The table of resumable uploads: their state, their writers, and the parts of final uploads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use content_store::UploadId;
use skynet_formats::skylink::Skylink;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};

use super::TusError;
use super::concatenation::Concatenation;
use super::record::Record;
use crate::skyfile::SkyfileWriter;

/// An upload.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: UploadId,
    pub(super) concatenation: Concatenation,
    pub(super) length: u64,
    /// Locked by the thread that writes to the upload or finishes it. It is released only when the upload is in a
    /// settled state, even if the client has left meanwhile.
    pub(super) lock: Arc<tokio::sync::Mutex<Option<Ahead>>>,
    view: Mutex<View>,
}

/// The exclusive right to change an upload.
pub(super) type Held = OwnedMutexGuard<Option<Ahead>>;

/// Content that is stored ahead while its bytes still arrive.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) writer: SkyfileWriter,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// The variable state.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Bytes that are certain.
    pub(super) offset: u64,
    /// The skylink, once it is finished.
    pub(super) skylink: Option<Skylink>,
    pub(super) last_activity: SystemTime,
    /// The final upload that it is a part of.
    pub(super) claimed_by: Option<UploadId>,
    /// True if its files are removed, or about to be.
    pub(super) gone: bool,
}

impl Session {
    pub(super) fn new(id: UploadId, record: &Record) -> Self {
        Session {
            id,
            concatenation: record.concatenation.clone(),
            length: record.length,
            lock: Arc::default(),
            view: Mutex::new(View {
                offset: record.offset,
                skylink: record.skylink,
                last_activity: record.last_activity,
                claimed_by: None,
                gone: false,
            }),
        }
    }

    pub(super) fn view(&self) -> MutexGuard<'_, View> {
        // Fields are set one by one, so a panic leaves the view consistent.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if all bytes have been received.
    pub(super) fn is_complete(&self) -> bool {
        self.view().offset == self.length
    }

    /// True if it is complete, not a part, and not yet finished.
    pub(super) fn is_to_be_finished(&self) -> bool {
        let view = self.view();
        view.offset == self.length && view.skylink.is_none() && self.concatenation != Concatenation::Partial
    }

    /// Acquires the right to change it, if it is free.
    pub(super) fn try_hold(&self) -> Result<Held, TusError> {
        let held = Arc::clone(&self.lock).try_lock_owned().map_err(|_| TusError::Busy)?;
        if self.view().gone { Err(TusError::Unknown) } else { Ok(held) }
    }

    /// Acquires the right to change it, waiting until it is free.
    pub(super) async fn hold(&self) -> Result<Held, TusError> {
        let held = Arc::clone(&self.lock).lock_owned().await;
        if self.view().gone { Err(TusError::Unknown) } else { Ok(held) }
    }

    pub(super) fn is_idle(&self, now: SystemTime, expiry: Duration) -> bool {
        now.duration_since(self.view().last_activity).is_ok_and(|idle| idle > expiry)
    }
}

/// All uploads by their id.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<UploadId, Arc<Session>>>);

impl Sessions {
    pub(super) fn new(found: Vec<(UploadId, Record)>) -> Self {
        let all = found.into_iter().map(|(id, record)| (id.clone(), Arc::new(Session::new(id, &record))));
        let sessions = Sessions(Mutex::new(all.collect()));
        let wholes: Vec<Arc<Session>> = sessions.lock().values().cloned().collect();
        for whole in wholes.iter().filter(|whole| whole.view().skylink.is_none()) {
            for part in sessions.parts(whole) {
                part.view().claimed_by = Some(whole.id.clone());
            }
        }
        sessions
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Arc<Session>>> {
        // Each change of the table is one call on a map, so a panic leaves it consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, id: &UploadId) -> Result<Arc<Session>, TusError> {
        self.lock().get(id).cloned().ok_or(TusError::Unknown)
    }

    /// The existing parts of a final upload.
    pub(super) fn parts(&self, whole: &Session) -> Vec<Arc<Session>> {
        let Concatenation::Final(parts) = &whole.concatenation else { return Vec::new() };
        let table = self.lock();
        parts.iter().filter_map(|part| table.get(part).cloned()).collect()
    }

    /// Removes an upload from the table; its parts become free again.
    pub(super) fn remove(&self, session: &Session) {
        session.view().gone = true;
        for part in self.parts(session) {
            let mut view = part.view();
            if view.claimed_by.as_ref() == Some(&session.id) {
                view.claimed_by = None;
            }
        }
        self.lock().remove(&session.id);
    }
}
