//! Entries on their way to one peer.
//!
//! In memory only: what a crash takes from here stands in the store, and a peer that lacks it asks for it when it is read.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use storage_backends::skynet::entry::{EntryId, SignedEntry, supersedes};
use tokio::task::spawn_blocking;

use super::client::Peer;
use super::error::PeerError;
use super::timing::Timing;
use crate::entries::EntryStore;

/// Entries that wait; further ones are dropped.
const CAPACITY: usize = 10_000;

/// Entries that are sent at once.
const SENDERS: usize = 4;

/// The queue of one peer.
#[derive(Debug)]
pub(super) struct Outbox {
    peer: Arc<Peer>,
    /// Where what the peer knows better goes.
    entries: Arc<EntryStore>,
    timing: Timing,
    waiting: Mutex<Waiting>,
}

/// What waits, once for each id.
#[derive(Debug, Default)]
struct Waiting {
    entries: HashMap<EntryId, SignedEntry>,
    order: VecDeque<EntryId>,
    senders: usize,
    /// Since the last one that found room.
    dropped: u64,
}

impl Outbox {
    pub(super) fn new(peer: Arc<Peer>, entries: Arc<EntryStore>, timing: Timing) -> Self {
        Outbox { peer, entries, timing, waiting: Mutex::default() }
    }

    /// Takes an entry to send. One that waits under the same id is replaced if it is older.
    pub(super) fn offer(self: Arc<Self>, entry: SignedEntry) {
        let begin = self.waiting().add(entry, self.peer.url());
        if begin {
            tokio::spawn(self.send_all());
        }
    }

    async fn send_all(self: Arc<Self>) {
        loop {
            let next = self.waiting().next();
            let Some(entry) = next else { return };
            self.send(&entry).await;
        }
    }

    async fn send(&self, entry: &SignedEntry) {
        let mut retries = self.timing.retries.iter();
        loop {
            match self.peer.post_entry(entry).await {
                Ok(()) => return,
                // Mostly because it has a newer one.
                Err(PeerError::Status(StatusCode::BAD_REQUEST)) => return self.learn(entry.id()).await,
                Err(error) => {
                    let Some(delay) = retries.next().filter(|_| error.is_passing()) else {
                        let (peer, id) = (self.peer.url(), entry.id());
                        tracing::warn!(peer, entry.id = %id, %error, "an entry could not be passed on to a peer");
                        return;
                    };
                    tokio::time::sleep(*delay).await;
                }
            }
        }
    }

    /// Takes over what the peer has.
    async fn learn(&self, id: EntryId) {
        let Ok(entry) = self.peer.entry(id).await else { return };
        let entries = Arc::clone(&self.entries);
        // What fails here is tried again with the next entry that the peer refuses.
        match spawn_blocking(move || entries.put(&entry)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(entry.id = %id, %error, "an entry of a peer could not be stored"),
            Err(error) => tracing::warn!(entry.id = %id, %error, "the storing of a peer's entry was aborted"),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Each method leaves it whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Whether one more sender shall begin.
    fn add(&mut self, entry: SignedEntry, peer: &str) -> bool {
        let id = entry.id();
        if let Some(waiting) = self.entries.get_mut(&id) {
            if supersedes(waiting.entry(), entry.entry()).is_ok() {
                *waiting = entry;
            }
            return false;
        }
        if self.order.len() >= CAPACITY {
            if self.dropped == 0 {
                tracing::warn!(peer, "more entries wait for a peer than fit the queue; further ones are not passed on");
            }
            self.dropped += 1;
            return false;
        }
        self.dropped = 0;
        self.entries.insert(id, entry);
        self.order.push_back(id);
        let begin = self.senders < SENDERS;
        self.senders += usize::from(begin);
        begin
    }

    /// The next to send; without one, the caller is a sender no more.
    fn next(&mut self) -> Option<SignedEntry> {
        let next = self.order.pop_front().and_then(|id| self.entries.remove(&id));
        if next.is_none() {
            self.senders -= 1;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::tests::entry;

    #[test]
    fn one_entry_of_an_id_waits_the_newest() {
        let mut waiting = Waiting::default();
        assert!(waiting.add(entry(1, "a", 5, b""), "p"));
        assert!(waiting.add(entry(1, "b", 5, b""), "p"), "another sender, up to the limit");
        assert!(!waiting.add(entry(1, "a", 6, b""), "p"));
        assert!(!waiting.add(entry(1, "a", 4, b""), "p"));
        assert_eq!(waiting.next(), Some(entry(1, "a", 6, b"")));
        assert_eq!(waiting.next(), Some(entry(1, "b", 5, b"")));
        assert_eq!((waiting.next(), waiting.next()), (None, None));
        assert_eq!(waiting.senders, 0);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut waiting = Waiting::default();
        let id = |n: u32| EntryId::from_bytes(std::array::from_fn(|at| n.to_be_bytes()[at % 4]));
        waiting.order.extend((0..CAPACITY as u32).map(id));
        assert!(!waiting.add(entry(1, "a", 5, b""), "p"));
        assert_eq!((waiting.order.len(), waiting.dropped), (CAPACITY, 1));
    }
}
