//! The memory of pushed manifests, from the first byte of a large one until its commit has ended.
//!
//! A manifest takes several times its length while it is checked. Clients share a few MiB of such lengths: one client
//! may take what it likes while at most half is used, and at most half above that. A body that comes too slowly is
//! given up once others wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serving::{Holder, PERMIT_PATIENCE, UsedUp};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Caller, Error, Registry};
use crate::resources::Resource;

/// Largest manifest that needs no permit, like nearly all of them. The server limits the number of requests.
pub const SMALL_MANIFEST: u64 = 32 * 1024;

/// Bytes of larger manifests at once.
const CAPACITY: u64 = 32 << 20;
/// Most pushes that wait.
const WAITING: usize = 256;
/// A body that brings this many bytes in a second keeps its permit while others wait.
const PART: usize = 128 << 10;
const TIMES: Times = Times { patience: PERMIT_PATIENCE, least: Duration::from_secs(4), part: Duration::from_secs(1) };

/// The account of all clients.
#[derive(Debug)]
pub(super) struct ManifestMemory {
    state: Mutex<State>,
    /// Notified when bytes come back.
    freed: Notify,
    /// Notified when a push begins to wait.
    wanted: Notify,
    times: Times,
}

/// The times that clients get.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// How long a push waits for its permit.
    patience: Duration,
    /// How long a body may take while others wait, besides the time for its bytes.
    least: Duration,
    /// The time for each [`PART`] of a body.
    part: Duration,
}

#[derive(Debug)]
struct State {
    free: u64,
    held: HashMap<Holder, u64>,
    waiting: usize,
}

/// The name of the pool in errors.
const WHAT: &str = Resource::LargeManifests.name();

/// The permission to keep a manifest in memory. It stays with the manifest's bytes, also if the client leaves.
#[derive(Debug)]
pub struct MemoryPermit {
    memory: Arc<ManifestMemory>,
    holder: Holder,
    bytes: u64,
    since: Instant,
}

impl ManifestMemory {
    pub(super) fn new() -> Arc<Self> {
        Self::with(TIMES)
    }

    fn with(times: Times) -> Arc<Self> {
        let state = State { free: CAPACITY, held: HashMap::new(), waiting: 0 };
        Arc::new(ManifestMemory { state: Mutex::new(state), freed: Notify::new(), wanted: Notify::new(), times })
    }

    /// A permit for a manifest of this length. Waits for it for a while.
    async fn acquire(self: &Arc<Self>, holder: Holder, bytes: u64) -> Result<MemoryPermit, UsedUp> {
        // No client could ever take more than half.
        let bytes = bytes.min(CAPACITY / 2);
        let used_up = match self.try_acquire(holder, bytes) {
            Ok(permit) => return Ok(permit),
            Err(used_up) => used_up,
        };
        let _waiting = Waiting::begin(self).ok_or(used_up)?;
        let deadline = Instant::now() + self.times.patience;
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            match self.try_acquire(holder, bytes) {
                Ok(permit) => return Ok(permit),
                Err(used_up) => timeout_at(deadline, freed).await.map_err(|_| used_up)?,
            }
        }
    }

    fn try_acquire(self: &Arc<Self>, holder: Holder, bytes: u64) -> Result<MemoryPermit, UsedUp> {
        let mut state = self.state();
        let held = state.held.get(&holder).copied().unwrap_or(0) + bytes;
        let Some(free) = state.free.checked_sub(bytes) else { return Err(UsedUp::Pool(WHAT)) };
        if free < CAPACITY / 2 && held > CAPACITY / 2 && holder != Holder::SHARED {
            return Err(UsedUp::Share(WHAT));
        }
        state.free = free;
        state.held.insert(holder, held);
        Ok(MemoryPermit { memory: Arc::clone(self), holder, bytes, since: Instant::now() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Plain numbers, which a panic elsewhere leaves valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryPermit {
    /// Returns when others wait for memory, and this manifest's body, of which `received` bytes came, had its time.
    pub async fn is_wanted(&self, received: usize) {
        let Times { least, part, .. } = self.memory.times;
        sleep_until(self.since + least + part * (received / PART) as u32).await;
        loop {
            let mut wanted = std::pin::pin!(self.memory.wanted.notified());
            wanted.as_mut().enable();
            if self.memory.state().waiting > 0 {
                return;
            }
            wanted.await;
        }
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        let mut state = self.memory.state();
        state.free += self.bytes;
        if let Some(held) = state.held.get_mut(&self.holder) {
            *held -= self.bytes;
            if *held == 0 {
                state.held.remove(&self.holder);
            }
        }
        drop(state);
        self.memory.freed.notify_waiters();
    }
}

/// Counts a push that waits.
struct Waiting<'a>(&'a ManifestMemory);

impl<'a> Waiting<'a> {
    /// `None` if too many wait already.
    fn begin(memory: &'a ManifestMemory) -> Option<Self> {
        let mut state = memory.state();
        if state.waiting >= WAITING {
            return None;
        }
        state.waiting += 1;
        drop(state);
        memory.wanted.notify_waiters();
        Some(Waiting(memory))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

impl Registry {
    /// Bytes of manifests for which permits are out.
    #[cfg(test)]
    pub(super) fn manifest_memory_used(&self) -> u64 {
        CAPACITY - self.manifest_memory.state().free
    }

    /// A permit for a manifest above [`SMALL_MANIFEST`], to be taken before its bytes are read.
    ///
    /// Errors: [`Error::ManifestTooLarge`], before any wait, and [`Error::UsedUp`].
    pub async fn manifest_memory(&self, caller: &Caller, bytes: u64) -> Result<MemoryPermit, Error> {
        let limit = self.limits.max_manifest_size;
        if bytes > limit {
            return Err(Error::ManifestTooLarge { limit });
        }
        Ok(self.manifest_memory.acquire(caller.holder, bytes).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn client(last: u8) -> Holder {
        Holder::at([10, 0, 0, last].into())
    }

    fn hasty() -> Arc<ManifestMemory> {
        let [patience, least] = [Duration::from_millis(50), Duration::from_millis(20)];
        ManifestMemory::with(Times { patience, least, part: Duration::from_millis(100) })
    }

    #[tokio::test]
    async fn one_client_leaves_memory_for_others() {
        let memory = hasty();
        let mut greedy = Vec::new();
        for _ in 0..2 {
            greedy.push(memory.acquire(client(1), 8 * MIB).await.unwrap());
        }
        assert_eq!(memory.acquire(client(1), 4 * MIB).await.unwrap_err(), UsedUp::Share(WHAT));
        let others = memory.acquire(client(2), 16 * MIB).await.unwrap();
        assert_eq!(memory.acquire(client(3), MIB).await.unwrap_err(), UsedUp::Pool(WHAT));
        let (got, ()) = tokio::join!(memory.acquire(client(3), MIB), async { drop(greedy.pop()) });
        drop((got.unwrap(), greedy, others));
        let state = memory.state();
        assert_eq!((state.free, state.held.len(), state.waiting), (CAPACITY, 0, 0));
    }

    #[tokio::test]
    async fn a_slow_body_is_given_up_only_while_others_wait() {
        let memory = ManifestMemory::with(Times { patience: Duration::from_mins(1), ..hasty().times });
        let (slow, other) =
            (memory.acquire(client(1), CAPACITY).await.unwrap(), memory.acquire(client(2), CAPACITY).await.unwrap());
        let nobody_waits = tokio::time::timeout(Duration::from_millis(200), slow.is_wanted(0)).await;
        assert!(nobody_waits.is_err());
        let yields = async {
            slow.is_wanted(0).await;
            drop(slow);
        };
        let (got, ()) = tokio::join!(memory.acquire(client(3), MIB), yields);
        drop((got.unwrap(), other));
    }

    #[tokio::test]
    async fn a_body_that_comes_faster_has_more_time() {
        let memory = ManifestMemory::with(Times { patience: Duration::from_mins(1), ..hasty().times });
        let (body, other) =
            (memory.acquire(client(1), CAPACITY).await.unwrap(), memory.acquire(client(2), CAPACITY).await.unwrap());
        let yields = async {
            let begun = Instant::now();
            body.is_wanted(3 * PART).await;
            drop(body);
            begun.elapsed()
        };
        let (got, took) = tokio::join!(memory.acquire(client(3), MIB), yields);
        assert!(took > 2 * memory.times.part, "{took:?}");
        drop((got.unwrap(), other));
    }

    #[tokio::test]
    async fn a_manifest_of_any_length_gets_its_permit() {
        let memory = ManifestMemory::new();
        drop(memory.acquire(client(1), 100 * MIB).await.unwrap());
        assert_eq!(memory.state().free, CAPACITY);
    }
}
