//! State shared by the writer and readers: the index in use, and the state of the catalog.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::backlog::BacklogCounter;
use super::index::{Fault, Index};
use super::progress::Progress;

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
    /// Facts read by the current rebuild, and the most that it will read.
    pub rebuilding: Option<(u64, u64)>,
    /// Batches made durable since the start.
    pub batches: u64,
}

/// The shared state. The slot is empty while the index is being rebuilt, and after closing.
#[derive(Debug)]
pub(super) struct Shared {
    slot: RwLock<Option<Arc<Index>>>,
    pub(super) counter: Option<BacklogCounter>,
    /// The number of the index that failed last, and whether that was damage.
    failed: Mutex<Option<(u64, bool)>>,
    /// Indexes that failed since the start. Each keeps its memory.
    pub(super) abandoned: AtomicU32,
    /// Since when the writer has been waiting for sled.
    in_sled: Mutex<Option<Instant>>,
    pub(super) progress: Arc<Progress>,
    pub(super) stopping: AtomicBool,
    pub(super) closed: AtomicBool,
    pub(super) read_only: AtomicBool,
    pub(super) sequence: AtomicU64,
    pub(super) snapshot_sequence: AtomicU64,
    pub(super) rebuilds: AtomicU64,
    pub(super) batches: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        index: Index,
        counter: Option<BacklogCounter>,
        progress: Arc<Progress>,
        sequence: u64,
        snapshot_sequence: u64,
    ) -> Self {
        Shared {
            slot: RwLock::new(Some(Arc::new(index))),
            counter,
            failed: Mutex::new(None),
            abandoned: AtomicU32::new(0),
            in_sled: Mutex::new(None),
            progress,
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

    /// Takes a failed index out of use, and abandons it. True if it was in use.
    pub(super) fn distrust(&self, index: &Index, fault: &Fault) -> bool {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        let Some(current) = slot.take_if(|current| current.generation() == index.generation()) else { return false };
        tracing::error!(error = %fault, "the index failed and will be rebuilt from the journal");
        let failed = (current.generation(), fault.is_damage());
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(failed);
        self.abandoned.fetch_add(1, Ordering::Relaxed);
        // As in `Index::abandon`: readers may have it too, and none of them may drop it.
        std::mem::forget(current);
        true
    }

    /// Takes the number of the index that failed last, with whether it is damaged.
    pub(super) fn take_failed(&self) -> Option<(u64, bool)> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Calls sled for the writer, so that [`Shared::stuck_for`] sees how long it takes.
    pub(super) fn watched<T>(&self, work: impl FnOnce() -> T) -> T {
        let set = |since| *self.in_sled.lock().unwrap_or_else(PoisonError::into_inner) = since;
        set(Some(Instant::now()));
        let result = work();
        set(None);
        result
    }

    /// How long the writer has been waiting for sled in one call.
    pub(super) fn stuck_for(&self) -> Duration {
        self.in_sled.lock().unwrap_or_else(PoisonError::into_inner).map_or(Duration::ZERO, |since| since.elapsed())
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
