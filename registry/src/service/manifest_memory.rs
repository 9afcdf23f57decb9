//! The memory of pushed manifests, from the first byte of a large one until its commit has ended.
//!
//! A manifest takes several times its length while it is checked. Clients share a few MiB of such lengths: one client
//! may take what it likes while at most half is used, and at most half above that. A body that comes too slowly is given
//! up once others wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serving::client_network;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Caller, Error, Registry};

/// Largest manifest that needs no permit, like nearly all of them. The server limits the number of requests.
pub const SMALL_MANIFEST: u64 = 32 * 1024;

/// Bytes of larger manifests at once.
const CAPACITY: u64 = 16 << 20;
/// How long a push waits for its permit.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most pushes that wait.
const WAITING: usize = 256;
/// How long a body may take while others wait, plus one second for each [`RATE`] bytes that came.
const LEAST_TIME: Duration = Duration::from_secs(4);
const RATE: usize = 128 << 10;

/// The account of all clients.
#[derive(Debug)]
pub(super) struct ManifestMemory {
    state: Mutex<State>,
    /// Notified when bytes come back.
    freed: Notify,
    /// Notified when a push begins to wait.
    wanted: Notify,
}

#[derive(Debug)]
struct State {
    free: u64,
    held: HashMap<IpAddr, u64>,
    waiting: usize,
}

/// Why a push gets no permit now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shortage {
    /// The client holds its share.
    Share,
    /// All clients together hold everything.
    Everything,
}

/// The permission to keep a manifest in memory. It stays with the manifest's bytes, also if the client leaves.
#[derive(Debug)]
pub struct MemoryPermit {
    memory: Arc<ManifestMemory>,
    client: IpAddr,
    bytes: u64,
    since: Instant,
}

impl ManifestMemory {
    pub(super) fn new() -> Arc<Self> {
        let state = State { free: CAPACITY, held: HashMap::new(), waiting: 0 };
        Arc::new(ManifestMemory { state: Mutex::new(state), freed: Notify::new(), wanted: Notify::new() })
    }

    /// A permit for a manifest of this length. Waits for it for a while.
    async fn acquire(self: &Arc<Self>, client: IpAddr, bytes: u64) -> Result<MemoryPermit, Shortage> {
        // No client could ever take more than half.
        let (client, bytes) = (client_network(client), bytes.min(CAPACITY / 2));
        let Err(shortage) = self.try_acquire(client, bytes) else { return self.permit(client, bytes) };
        let _waiting = Waiting::begin(self).ok_or(shortage)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            let Err(shortage) = self.try_acquire(client, bytes) else { return self.permit(client, bytes) };
            timeout_at(deadline, freed).await.map_err(|_| shortage)?;
        }
    }

    fn try_acquire(&self, client: IpAddr, bytes: u64) -> Result<(), Shortage> {
        let mut state = self.state();
        let held = state.held.get(&client).copied().unwrap_or(0) + bytes;
        let Some(free) = state.free.checked_sub(bytes) else { return Err(Shortage::Everything) };
        if free < CAPACITY / 2 && held > CAPACITY / 2 {
            return Err(Shortage::Share);
        }
        state.free = free;
        state.held.insert(client, held);
        Ok(())
    }

    fn permit(self: &Arc<Self>, client: IpAddr, bytes: u64) -> Result<MemoryPermit, Shortage> {
        Ok(MemoryPermit { memory: Arc::clone(self), client, bytes, since: Instant::now() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Plain numbers, which a panic elsewhere leaves valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryPermit {
    /// Returns when others wait for memory, and this manifest's body, of which `received` bytes came, had its time.
    pub async fn is_wanted(&self, received: usize) {
        sleep_until(self.since + LEAST_TIME + Duration::from_secs((received / RATE) as u64)).await;
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
        if let Some(held) = state.held.get_mut(&self.client) {
            *held -= self.bytes;
            if *held == 0 {
                state.held.remove(&self.client);
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
    pub async fn manifest_memory(&self, caller: &Caller, bytes: u64) -> Result<MemoryPermit, Error> {
        let permit = self.manifest_memory.acquire(caller.address, bytes).await;
        permit.map_err(|shortage| match shortage {
            Shortage::Share => Error::ShareUsedUp("large manifests"),
            Shortage::Everything => Error::TooMany("large manifests"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn client(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_leaves_memory_for_others() {
        let memory = ManifestMemory::new();
        let mut greedy = vec![memory.acquire(client(1), 4 * MIB).await.unwrap()];
        greedy.push(memory.acquire(client(1), 4 * MIB).await.unwrap());
        assert_eq!(memory.acquire(client(1), 4 * MIB).await.unwrap_err(), Shortage::Share);
        let others =
            [memory.acquire(client(2), 4 * MIB).await.unwrap(), memory.acquire(client(3), 4 * MIB).await.unwrap()];
        assert_eq!(memory.acquire(client(4), MIB).await.unwrap_err(), Shortage::Everything);
        let waits = tokio::spawn({
            let memory = Arc::clone(&memory);
            async move { memory.acquire(client(4), MIB).await }
        });
        tokio::time::sleep(PATIENCE / 2).await;
        drop(greedy.pop());
        drop(waits.await.unwrap().unwrap());
        drop((greedy, others));
        assert_eq!((memory.state().free, memory.state().held.len(), memory.state().waiting), (CAPACITY, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_given_up_only_while_others_wait() {
        let memory = ManifestMemory::new();
        let (slow, other) =
            (memory.acquire(client(1), CAPACITY).await.unwrap(), memory.acquire(client(2), CAPACITY).await.unwrap());
        let minute = tokio::time::timeout(Duration::from_mins(1), slow.is_wanted(0)).await;
        assert!(minute.is_err(), "nobody waits");
        let waits = tokio::spawn({
            let memory = Arc::clone(&memory);
            async move { memory.acquire(client(3), MIB).await }
        });
        slow.is_wanted(0).await;
        drop(slow);
        drop(waits.await.unwrap().unwrap());
        drop(other);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_faster_has_more_time() {
        let memory = ManifestMemory::new();
        let (body, _other) =
            (memory.acquire(client(1), CAPACITY).await.unwrap(), memory.acquire(client(2), CAPACITY).await.unwrap());
        let _waits = tokio::spawn({
            let memory = Arc::clone(&memory);
            async move { memory.acquire(client(3), MIB).await }
        });
        let begun = Instant::now();
        body.is_wanted(3 * RATE).await;
        assert_eq!(begun.elapsed().as_secs(), LEAST_TIME.as_secs() + 3);
    }

    #[tokio::test]
    async fn a_manifest_of_any_length_gets_its_permit() {
        let memory = ManifestMemory::new();
        drop(memory.acquire(client(1), 100 * MIB).await.unwrap());
        assert_eq!(memory.state().free, CAPACITY);
    }
}
