//! Entries in flight to one peer.
//!
//! A peer that is away gets them when it is back. They are only in memory. Entries that a crash removes, or that find
//! no room, are in the store, and the next [exchange](super::exchange) finds that the peer lacks them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use skynet_formats::entry::{EntryId, SignedEntry, supersedes};
use tokio::task::spawn_blocking;

use super::client::Peer;
use super::error::PeerError;
use super::timing::Timing;
use crate::entries::EntryStore;

/// Most waiting entries; further ones are left to the exchange.
const CAPACITY: usize = 10_000;

/// Entries that are sent at once.
const SENDERS: usize = 4;

/// The queue of one peer.
#[derive(Debug)]
pub(super) struct Outbox {
    peer: Arc<Peer>,
    /// The store for newer entries of the peer.
    entries: Arc<EntryStore>,
    timing: Timing,
    waiting: Mutex<Waiting>,
}

/// The waiting entries, one per id.
#[derive(Debug, Default)]
struct Waiting {
    entries: HashMap<EntryId, SignedEntry>,
    order: VecDeque<EntryId>,
    senders: usize,
    /// Entries dropped since the last one that found room.
    dropped: u64,
    /// True if the last attempts have all failed; logged once.
    away: bool,
}

impl Outbox {
    pub(super) fn new(peer: Arc<Peer>, entries: Arc<EntryStore>, timing: Timing) -> Self {
        Outbox { peer, entries, timing, waiting: Mutex::default() }
    }

    /// Queues an entry. A waiting entry with the same id is replaced if it is older.
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
            if !self.send(&entry).await {
                self.waiting().put_back(entry);
                tokio::time::sleep(self.timing.away).await;
            }
        }
    }

    /// Sends an entry; `false` if the peer may accept it later.
    async fn send(&self, entry: &SignedEntry) -> bool {
        let mut retries = self.timing.retries.iter();
        loop {
            let error = match self.peer.post_entry(entry).await {
                Ok(()) => {
                    self.is_back();
                    return true;
                }
                Err(error) => error,
            };
            if !error.is_passing() {
                // Mostly because the peer has a newer one.
                if matches!(error, PeerError::Status(StatusCode::BAD_REQUEST)) {
                    self.is_back();
                    self.learn(entry.id()).await;
                } else {
                    self.is_away(&error);
                }
                return true;
            }
            let Some(delay) = retries.next() else {
                self.is_away(&error);
                return false;
            };
            tokio::time::sleep(*delay).await;
        }
    }

    fn is_away(&self, error: &PeerError) {
        if !std::mem::replace(&mut self.waiting().away, true) {
            tracing::warn!(peer = self.peer.url(), %error, "a peer takes no entries now");
        }
    }

    fn is_back(&self) {
        if std::mem::take(&mut self.waiting().away) {
            tracing::info!(peer = self.peer.url(), "a peer takes entries again");
        }
    }

    /// Stores the peer's entry of this id here.
    async fn learn(&self, id: EntryId) {
        if let Ok(entry) = self.peer.entry(id).await {
            self.take_over(entry).await;
        }
    }

    /// Stores an entry of the peer, unless the current one is better.
    pub(super) async fn take_over(&self, entry: SignedEntry) {
        let (entries, id) = (Arc::clone(&self.entries), entry.id());
        // A failure is retried with the next exchange.
        match spawn_blocking(move || entries.put(&entry)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(entry.id = %id, %error, "an entry of a peer could not be stored"),
            Err(error) => tracing::warn!(entry.id = %id, %error, "the storing of a peer's entry was aborted"),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Each method leaves the queue consistent.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Adds an entry; `true` if one more sender shall begin.
    fn add(&mut self, entry: SignedEntry, peer: &str) -> bool {
        let id = entry.id();
        if self.replace(&entry) {
            return false;
        }
        if self.order.len() >= CAPACITY {
            if self.dropped == 0 {
                tracing::warn!(peer, "more entries wait for a peer than fit the queue; it gets further ones later");
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

    /// Queues an entry again, behind all others. If one with its id waits, the newer of the two stays, because another
    /// sender may have put an older one back meanwhile.
    fn put_back(&mut self, entry: SignedEntry) {
        let id = entry.id();
        if !self.replace(&entry) && self.order.len() < CAPACITY {
            self.entries.insert(id, entry);
            self.order.push_back(id);
        }
    }

    /// True if an entry with this id waits, which is then the newer of the two.
    fn replace(&mut self, entry: &SignedEntry) -> bool {
        let Some(waiting) = self.entries.get_mut(&entry.id()) else { return false };
        if supersedes(waiting.entry(), entry.entry()).is_ok() {
            *waiting = entry.clone();
        }
        true
    }

    /// The next entry to send. Without one, the caller stops being a sender.
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
    fn what_could_not_be_sent_waits_behind_all_others_unless_it_is_old() {
        let mut waiting = Waiting::default();
        waiting.add(entry(1, "a", 5, b""), "p");
        waiting.add(entry(1, "b", 5, b""), "p");
        let a = waiting.next().unwrap();
        waiting.put_back(a);
        let b = waiting.next().unwrap();
        waiting.add(entry(1, "b", 6, b""), "p");
        waiting.put_back(b);
        assert_eq!(waiting.entries[&entry(1, "b", 0, b"").id()], entry(1, "b", 6, b""));
        // Two senders had one each, and the one with the older comes back first.
        let newer = entry(1, "a", 7, b"");
        waiting.put_back(newer.clone());
        let left: Vec<_> = std::iter::from_fn(|| waiting.order.front().copied().and_then(|_| waiting.next())).collect();
        assert_eq!(left, [newer, entry(1, "b", 6, b"")]);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut waiting = Waiting::default();
        let id = |n: u32| EntryId::from_bytes(std::array::from_fn(|at| n.to_be_bytes()[at % 4]));
        waiting.order.extend((0..CAPACITY as u32).map(id));
        assert!(!waiting.add(entry(1, "a", 5, b""), "p"));
        assert_eq!((waiting.order.len(), waiting.dropped), (CAPACITY, 1));
        waiting.put_back(entry(1, "b", 5, b""));
        assert_eq!((waiting.order.len(), waiting.entries.len()), (CAPACITY, 0));
    }
}
