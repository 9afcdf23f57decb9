//! The table of resumable uploads: their state, their writers, and the parts of final uploads.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use content_store::UploadId;
use serving::{Holder, Permit, Pool};
use skynet_formats::skylink::Skylink;
use tokio::sync::OwnedMutexGuard;

use super::TusError;
use super::concatenation::Concatenation;
use super::record::Record;
use crate::skyfile::SkyfileWriter;

/// Unfinished uploads idle for longer end, if another client wants to begin one and the table is full.
const YIELDS_AFTER: Duration = Duration::from_mins(5);

/// An upload.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: UploadId,
    pub(super) concatenation: Concatenation,
    pub(super) length: u64,
    /// Locked by the thread that writes to the upload or finishes it. It is released only when the upload is in a
    /// settled state, even if the client has left meanwhile.
    pub(super) lock: Arc<tokio::sync::Mutex<Option<Ahead>>>,
    /// Its place in the table.
    place: Permit,
    view: Mutex<View>,
}

/// The exclusive right to change an upload.
pub(super) type Held = OwnedMutexGuard<Option<Ahead>>;

/// Content that is stored ahead while its bytes still arrive.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) writer: SkyfileWriter,
    pub(super) _permit: Permit,
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
    pub(super) fn new(id: UploadId, record: &Record, place: Permit) -> Self {
        Session {
            id,
            place,
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

    /// True with its last activity if it is unfinished and idle, false if it is finished; `None` if it stays.
    fn yields(&self, now: SystemTime) -> Option<(bool, SystemTime)> {
        let view = self.view();
        let unfinished = view.skylink.is_none();
        let idle = now.duration_since(view.last_activity).is_ok_and(|idle| idle > YIELDS_AFTER);
        let stays = unfinished && (!idle || view.claimed_by.is_some());
        (!stays).then_some((unfinished, view.last_activity))
    }

    pub(super) fn is_idle(&self, now: SystemTime, expiry: Duration) -> bool {
        now.duration_since(self.view().last_activity).is_ok_and(|idle| idle > expiry)
    }
}

/// All uploads by their id.
#[derive(Debug)]
pub(super) struct Sessions {
    table: Mutex<HashMap<UploadId, Arc<Session>>>,
    /// A permit for each of them.
    pub(super) places: Arc<Pool>,
}

impl Sessions {
    /// The uploads that were found on disk. Their clients are not known any more.
    pub(super) fn new(found: Vec<(UploadId, Record)>, places: Arc<Pool>) -> Self {
        let session = |id, record: &Record| Arc::new(Session::new(id, record, places.take_anyway(Holder::SHARED)));
        let all = found.into_iter().map(|(id, record)| (id.clone(), session(id, &record))).collect();
        let sessions = Sessions { table: Mutex::new(all), places };
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
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The upload that makes room for another one: of `of`, or of the client with most. A finished one goes first, then
    /// the longest idle one, if it was idle for a while. No request is using it.
    pub(super) fn first_to_yield(&self, of: Option<Holder>, now: SystemTime) -> Option<(Arc<Session>, Held)> {
        let mut found: Vec<_> = self
            .lock()
            .values()
            .filter(|session| of.is_none_or(|holder| session.place.holder() == holder))
            .filter_map(|session| Some((session.yields(now)?, Arc::clone(session))))
            .map(|((unfinished, activity), session)| {
                let held = if unfinished { self.places.held(session.place.holder()) } else { 0 };
                ((unfinished, Reverse(held), activity), session)
            })
            .collect();
        found.sort_unstable_by_key(|(order, _)| *order);
        found.into_iter().find_map(|(_, session)| {
            let held = session.try_hold().ok()?;
            Some((session, held))
        })
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
