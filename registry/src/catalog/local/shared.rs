//! State shared by the writer and readers: the index in use, and the state of the catalog.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use super::backlog::BacklogCounter;
use super::index::{Fault, Index};

/// The state of a catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogState {
    /// It accepts reads and commits.
    Ready,
    /// It refuses both: the index is being rebuilt.
    Rebuilding,
    /// It accepts only reads: the journal failed.
    ReadOnly,
    /// It refuses both, for good.
    Closed,
}

/// The state of a catalog, with figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogStatus {
    /// The state.
    pub state: CatalogState,
    /// The last sequence visible to reads.
    pub sequence: u64,
    /// The last sequence in the journal's snapshot.
    pub snapshot_sequence: u64,
    /// Entries in the index.
    pub index_entries: u64,
    /// Rebuilds of the index since the start.
    pub rebuilds: u64,
    /// Batches made durable since the start.
    pub batches: u64,
}

/// The shared state. The slot is empty while the index is being rebuilt, and after closing.
#[derive(Debug)]
pub(super) struct Shared {
    slot: RwLock<Option<Arc<Index>>>,
    pub(super) counter: Option<BacklogCounter>,
    /// The index last found damaged, with its number.
    retired: Mutex<Option<(Weak<Index>, u64)>>,
    pub(super) stopping: AtomicBool,
    pub(super) closed: AtomicBool,
    pub(super) read_only: AtomicBool,
    pub(super) sequence: AtomicU64,
    pub(super) snapshot_sequence: AtomicU64,
    pub(super) rebuilds: AtomicU64,
    pub(super) batches: AtomicU64,
}

impl Shared {
    pub(super) fn new(index: Index, counter: Option<BacklogCounter>, sequence: u64, snapshot_sequence: u64) -> Self {
        Shared {
            slot: RwLock::new(Some(Arc::new(index))),
            counter,
            retired: Mutex::new(None),
            stopping: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            read_only: AtomicBool::new(false),
            sequence: AtomicU64::new(sequence),
            snapshot_sequence: AtomicU64::new(snapshot_sequence),
            rebuilds: AtomicU64::new(0),
            batches: AtomicU64::new(0),
        }
    }

    /// The index in use; `None` during a rebuild and after closing.
    pub(super) fn index(&self) -> Option<Arc<Index>> {
        self.slot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts an index into use.
    pub(super) fn install(&self, index: Index) {
        *self.slot.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(index));
    }

    /// Takes the index out of use.
    pub(super) fn remove(&self) -> Option<Arc<Index>> {
        self.slot.write().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes a damaged index out of use. True if it was in use.
    pub(super) fn distrust(&self, index: &Index, fault: &Fault) -> bool {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        let Some(current) = slot.take_if(|current| current.generation() == index.generation()) else { return false };
        tracing::error!(error = %fault, "the index is damaged and will be rebuilt from the journal");
        let retired = (Arc::downgrade(&current), current.generation());
        *self.retired.lock().unwrap_or_else(PoisonError::into_inner) = Some(retired);
        true
    }

    /// The number of the index last found damaged, once no read uses it any more.
    pub(super) fn take_retired(&self) -> Option<u64> {
        let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner).take();
        retired.filter(|(index, _)| index.strong_count() == 0).map(|(_, generation)| generation)
    }

    /// Makes the catalog refuse commits from now on.
    pub(super) fn set_read_only(&self) {
        self.read_only.store(true, Ordering::Release);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn state(&self) -> CatalogState {
        if self.closed.load(Ordering::Acquire) {
            CatalogState::Closed
        } else if self.index().is_none() {
            CatalogState::Rebuilding
        } else if self.read_only.load(Ordering::Acquire) {
            CatalogState::ReadOnly
        } else {
            CatalogState::Ready
        }
    }
}
