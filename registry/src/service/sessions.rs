//! The table of upload sessions: the open ones, with their writers, and the recently closed ones.
//!
//! Sessions are files of the content store. A writing thread keeps its session's lock until the session is in a settled
//! state, even if the client leaves meanwhile.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use content_store::{ContentStore, StoreError, Upload, UploadId, UploadInfo};
use serving::{Holder, Permit, Pool};
use tokio::sync::OwnedMutexGuard;

use super::error::Progress;
use super::staging::{Staged, Staging};
use super::{Caller, Error, Limits};
use crate::access::Identity;
use crate::oci::{Digest, RepositoryName};
use crate::resources::Resource;

/// How long a closed session is remembered, so that a PUT repeated after a lost 201 gets its 201.
const REMEMBER_CLOSED: Duration = Duration::from_mins(15);
/// Most closed sessions remembered.
const MAX_CLOSED: usize = 16 * 1024;
/// Sessions idle for longer end, if others need what they hold.
const YIELDS_AFTER: Duration = Duration::from_mins(5);

/// What others need of an idle session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needed {
    /// A place among the open sessions.
    Place,
    /// Staged bytes.
    Bytes,
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Needed::Place => "place",
            Needed::Bytes => "bytes",
        })
    }
}

/// The open and the recently closed sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    /// A permit for each open session.
    pub(super) places: Arc<Pool>,
    open: Mutex<HashMap<UploadId, Arc<Session>>>,
    closed: Mutex<HashMap<UploadId, ClosedSession>>,
}

/// A session that became content.
#[derive(Clone, Debug)]
struct ClosedSession {
    owner: Owner,
    digest: Digest,
    outcome: Outcome,
    at: Instant,
}

/// The outcome of a closed session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The blob is linked in the repository.
    Linked,
    /// The content is stored with this length, but the link could not be recorded.
    Unrecorded(u64),
}

/// A session belongs to a repository and to the caller that opened it. Nobody else can see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) repository: RepositoryName,
    identity: Identity,
}

impl Owner {
    pub(super) fn new(caller: &Caller, repository: &RepositoryName) -> Self {
        Owner { repository: repository.clone(), identity: caller.identity.clone() }
    }
}

/// The text in a session's record. Neither part has white space.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identity {
            Identity::Anonymous => write!(f, "{}", self.repository),
            identity @ Identity::Local(_) => write!(f, "{} {identity}", self.repository),
        }
    }
}

impl FromStr for Owner {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (repository, identity) = text.split_once(' ').unwrap_or((text, "anonymous"));
        match (repository.parse(), identity.parse()) {
            (Ok(repository), Ok(identity)) => Ok(Owner { repository, identity }),
            _ => Err(Error::UploadUnknown),
        }
    }
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: UploadId,
    pub(super) owner: Owner,
    /// When it began, or when the node was started.
    pub(super) began: Instant,
    /// `None` if it is only on disk, after a restart or a failure.
    pub(super) upload: Arc<tokio::sync::Mutex<Option<Upload>>>,
    /// Its bytes on the disk, while it is open.
    pub(super) staged: Arc<Staged>,
    place: Permit,
    state: Mutex<State>,
}

/// The state of a session that other requests can read while one writes.
#[derive(Debug)]
struct State {
    fate: Fate,
    /// Bytes received, as of the last finished request.
    offset: u64,
    last_activity: Instant,
}

/// The fate of a session: a closing PUT and a cancelling DELETE cannot both succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Cancelled,
    Closing,
}

/// The exclusive use of a session's upload.
pub(super) type Guard = OwnedMutexGuard<Option<Upload>>;

/// The permission to write to a session. Dropping it leaves the session in a settled state.
pub(super) struct WriteLock {
    pub(super) session: Arc<Session>,
    pub(super) guard: Guard,
    pub(super) _permit: Permit,
}

impl AsMut<Upload> for WriteLock {
    fn as_mut(&mut self) -> &mut Upload {
        self.guard.as_mut().expect("a locked session has its upload until it is closed")
    }
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        if let Some(upload) = &*self.guard {
            self.session.reached(upload.offset());
        }
        self.session.touch();
    }
}

impl Session {
    /// A session without bytes.
    pub(super) fn new(upload: Upload, owner: Owner, staging: &Staging, place: Permit) -> Self {
        let state = State { fate: Fate::Open, offset: 0, last_activity: Instant::now() };
        Session::with(upload.id().clone(), owner, Some(upload), state, staging, place)
    }

    /// A session that was found on disk. Its client is not known any more.
    fn found(info: UploadInfo, owner: Owner, staging: &Staging, places: &Arc<Pool>) -> Self {
        let idle = info.last_activity.elapsed().unwrap_or_default();
        let seen = Instant::now().checked_sub(idle).unwrap_or_else(Instant::now);
        let state = State { fate: Fate::Open, offset: info.offset, last_activity: seen };
        Session::with(info.id, owner, None, state, staging, places.take_anyway(Holder::SHARED))
    }

    fn with(
        id: UploadId,
        owner: Owner,
        upload: Option<Upload>,
        state: State,
        staging: &Staging,
        place: Permit,
    ) -> Self {
        let (began, staged) = (Instant::now(), Arc::new(staging.of_existing(state.offset)));
        let upload = Arc::new(tokio::sync::Mutex::new(upload));
        Session { id, owner, began, upload, staged, place, state: Mutex::new(state) }
    }

    fn holds(&self, needed: Needed) -> u64 {
        match needed {
            Needed::Place => 1,
            Needed::Bytes => self.staged.bytes(),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { id: self.id.clone(), offset: self.state().offset }
    }

    /// Records the new offset.
    pub(super) fn reached(&self, offset: u64) {
        self.state().offset = offset;
        self.staged.set(offset);
    }

    /// Cancels the session; true if it was open.
    pub(super) fn cancel(&self) -> bool {
        self.leave_open_for(Fate::Cancelled)
    }

    /// Begins to close the session; true if it was open.
    pub(super) fn begin_closing(&self) -> bool {
        self.leave_open_for(Fate::Closing)
    }

    fn leave_open_for(&self, fate: Fate) -> bool {
        let mut state = self.state();
        let was_open = state.fate == Fate::Open;
        if was_open {
            state.fate = fate;
        }
        was_open
    }

    /// Reopens the session after a failed close that left it unchanged.
    pub(super) fn end_closing(&self) {
        self.state().fate = Fate::Open;
    }

    /// True if it is neither cancelled nor closed.
    pub(super) fn is_open(&self) -> bool {
        self.state().fate == Fate::Open
    }

    pub(super) fn touch(&self) {
        self.state().last_activity = Instant::now();
    }

    pub(super) fn idle(&self) -> Duration {
        self.state().last_activity.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment, so the state is valid even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    pub(super) fn new(limits: &Limits) -> Self {
        let places = Pool::new(Resource::Uploads.name(), limits.max_uploads, limits.permit_patience);
        Sessions { places, open: Mutex::default(), closed: Mutex::default() }
    }

    pub(super) fn open(store: &ContentStore, limits: &Limits, staging: &Staging) -> Result<Self, StoreError> {
        let sessions = Sessions::new(limits);
        for info in store.uploads()? {
            let Ok(owner) = info.owner.parse::<Owner>() else {
                tracing::warn!(upload.id = %info.id, "removing an upload without a valid owner");
                store.discard_upload(&info.id)?;
                continue;
            };
            let id = info.id.clone();
            let session = Arc::new(Session::found(info, owner, staging, &sessions.places));
            sessions.lock().insert(id, session);
        }
        Ok(sessions)
    }

    /// The session that ends first if others need what it holds: the longest idle one of the client that holds most, or
    /// of `of`. No request is using it, nor can one until the guard is dropped.
    pub(super) fn first_to_yield(&self, needed: Needed, of: Option<Holder>) -> Option<(Arc<Session>, Guard)> {
        let table = self.lock();
        let mut held: HashMap<Holder, u64> = HashMap::new();
        for session in table.values() {
            *held.entry(session.place.holder()).or_default() += session.holds(needed);
        }
        let mut idle: Vec<_> = table
            .values()
            .filter(|session| of.is_none_or(|holder| session.place.holder() == holder) && session.holds(needed) > 0)
            .map(|session| (held.get(&session.place.holder()), session.idle(), session))
            .filter(|(_, idle, _)| *idle > YIELDS_AFTER)
            .collect();
        idle.sort_unstable_by_key(|(held, idle, _)| Reverse((*held, *idle)));
        idle.into_iter().find_map(|(_, _, session)| {
            let guard = Arc::clone(&session.upload).try_lock_owned().ok()?;
            (session.idle() > YIELDS_AFTER).then(|| (Arc::clone(session), guard))
        })
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds an open session. A session of another repository or caller counts as unknown.
    pub(super) fn find(&self, owner: &Owner, id: &UploadId) -> Result<Arc<Session>, Error> {
        let session = self.lock().get(id).cloned().ok_or(Error::UploadUnknown)?;
        if session.owner == *owner { Ok(session) } else { Err(Error::UploadUnknown) }
    }

    /// Makes all sessions idle for this much longer.
    #[cfg(test)]
    pub(super) fn age(&self, by: Duration) {
        for session in self.lock().values() {
            let mut state = session.state();
            state.last_activity = state.last_activity.checked_sub(by).unwrap();
        }
    }

    pub(super) fn remember_closed(&self, id: UploadId, owner: Owner, digest: Digest, outcome: Outcome) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.len() >= MAX_CLOSED {
            closed.retain(|_, session| session.at.elapsed() < REMEMBER_CLOSED);
        }
        if closed.len() < MAX_CLOSED {
            closed.insert(id, ClosedSession { owner, digest, outcome, at: Instant::now() });
        }
    }

    /// The outcome of a session, if it was recently closed with this digest.
    pub(super) fn outcome(&self, owner: &Owner, id: &UploadId, digest: &Digest) -> Option<Outcome> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let session = closed.get(id)?;
        let same = session.owner == *owner && session.digest == *digest && session.at.elapsed() < REMEMBER_CLOSED;
        same.then_some(session.outcome)
    }
}
