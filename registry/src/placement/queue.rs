//! The queue of digests to look at, in limited memory. When it is full, the digests with the longest wait are left to a
//! scan.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::oci::Digest;

/// Most digests in the queue, about 200 bytes each.
const CAPACITY: usize = 4096;
/// A scan adds no more digests while this many are ready.
const ENOUGH_READY: usize = 256;

/// Digests that are ready, waiting for their time, or being worked on.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: VecDeque<Digest>,
    waiting: BTreeMap<(Instant, u64), Digest>,
    known: HashMap<Digest, Entry>,
    /// Orders entries with the same time.
    next_number: u64,
    overflowed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    failures: u32,
    /// Its key in `waiting`.
    waits: Option<(Instant, u64)>,
    running: bool,
    /// True if something happened to it while it was worked on.
    again: bool,
}

impl Queue {
    /// Makes a digest ready because something happened to it, even if it was waiting.
    pub(super) fn push(&mut self, digest: Digest) {
        if let Some(entry) = self.known.get_mut(&digest) {
            if entry.running {
                entry.again = true;
            } else if let Some(key) = entry.waits.take() {
                self.waiting.remove(&key);
                self.ready.push_back(digest);
            }
            return;
        }
        if self.known.len() >= CAPACITY && !self.make_room() {
            self.overflowed = true;
            return;
        }
        self.known.insert(digest.clone(), Entry::default());
        self.ready.push_back(digest);
    }

    /// True if the digest is ready, waiting, or being worked on.
    pub(super) fn knows(&self, digest: &Digest) -> bool {
        self.known.contains_key(digest)
    }

    /// Adds a digest found by a scan. A known digest keeps its time.
    pub(super) fn found(&mut self, digest: Digest) {
        if self.known.contains_key(&digest) {
            return;
        }
        if self.known.len() >= CAPACITY {
            self.overflowed = true;
            return;
        }
        self.known.insert(digest.clone(), Entry::default());
        self.ready.push_back(digest);
    }

    /// Drops the digest with the longest wait.
    fn make_room(&mut self) -> bool {
        let Some((_, digest)) = self.waiting.pop_last() else { return false };
        self.known.remove(&digest);
        self.overflowed = true;
        true
    }

    /// True if a scan should continue.
    pub(super) fn wants_more(&self) -> bool {
        self.ready.len() < ENOUGH_READY && self.known.len() < CAPACITY
    }

    /// True once after digests were left to a scan.
    pub(super) fn take_overflowed(&mut self) -> bool {
        std::mem::take(&mut self.overflowed)
    }

    /// The next ready digest. It counts as being worked on until [`Queue::done`] or [`Queue::again_at`].
    pub(super) fn next(&mut self, now: Instant) -> Option<Digest> {
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
        {
            self.ready.push_back(first.remove());
        }
        let digest = self.ready.pop_front()?;
        if let Some(entry) = self.known.get_mut(&digest) {
            (entry.waits, entry.running) = (None, true);
        }
        Some(digest)
    }

    /// The time at which the next waiting digest is ready.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Removes a digest, unless something happened to it meanwhile.
    pub(super) fn done(&mut self, digest: &Digest) {
        if self.known.remove(digest).is_some_and(|entry| entry.again) {
            self.push(digest.clone());
        }
    }

    /// Makes a digest wait until `at`.
    pub(super) fn again_at(&mut self, digest: Digest, at: Instant) {
        let Some(entry) = self.known.get_mut(&digest) else { return };
        entry.running = false;
        if std::mem::take(&mut entry.again) {
            self.ready.push_back(digest);
            return;
        }
        let key = (at, self.next_number);
        self.next_number += 1;
        entry.waits = Some(key);
        self.waiting.insert(key, digest);
    }

    /// Makes a failed digest wait until `at`, even if something happened to it, since the failure itself may cause
    /// news.
    pub(super) fn pause_until(&mut self, digest: Digest, at: Instant) {
        if let Some(entry) = self.known.get_mut(&digest) {
            entry.again = false;
        }
        self.again_at(digest, at);
    }

    /// Records a failure, and returns the number of failures in a row.
    pub(super) fn failed(&mut self, digest: &Digest) -> u32 {
        let Some(entry) = self.known.get_mut(digest) else { return 1 };
        entry.failures = entry.failures.saturating_add(1);
        entry.failures
    }

    /// True if no digest is ready, waiting or being worked on.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// The pause after this many failures in a row.
pub(super) fn pause(failures: u32, first: Duration, longest: Duration) -> Duration {
    first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Digest {
        format!("sha256:{number:064x}").parse().unwrap()
    }

    #[test]
    fn what_waits_comes_in_its_time_and_news_shorten_the_wait() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push(digest(1));
        queue.push(digest(1));
        assert_eq!(queue.next(now), Some(digest(1)));
        assert_eq!(queue.next(now), None);
        queue.again_at(digest(1), now + Duration::from_secs(9));
        queue.found(digest(1));
        assert_eq!((queue.next(now), queue.next_due()), (None, Some(now + Duration::from_secs(9))));
        assert_eq!(queue.next(now + Duration::from_secs(9)), Some(digest(1)));
        queue.again_at(digest(1), now + Duration::from_secs(99));
        queue.push(digest(1));
        assert_eq!((queue.next(now), queue.next_due()), (Some(digest(1)), None));
    }

    #[test]
    fn what_happens_while_somebody_is_at_it_is_not_lost() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push(digest(1));
        queue.next(now);
        queue.push(digest(1));
        assert_eq!(queue.next(now), None, "never two at the same");
        queue.done(&digest(1));
        assert_eq!(queue.next(now), Some(digest(1)));
        queue.push(digest(1));
        queue.pause_until(digest(1), now + Duration::from_secs(1));
        assert_eq!(queue.next(now), None, "a failure makes news itself");
        queue.next(now + Duration::from_secs(1));
        queue.done(&digest(1));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_full_queue_forgets_what_would_wait_longest() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for number in 0..CAPACITY {
            queue.push(digest(number));
            let next = queue.next(now).unwrap();
            queue.again_at(next, now + Duration::from_secs(1 + number as u64));
        }
        assert!(!queue.take_overflowed());
        queue.found(digest(CAPACITY));
        assert!(queue.take_overflowed(), "a scan forgets nothing for what it finds");
        queue.push(digest(CAPACITY));
        assert!(queue.take_overflowed());
        let late = now + Duration::from_secs(1 + CAPACITY as u64);
        let mut all: Vec<_> = std::iter::from_fn(|| queue.next(late)).collect();
        all.sort();
        assert_eq!(all.len(), CAPACITY);
        assert!(!all.contains(&digest(CAPACITY - 1)) && all.contains(&digest(CAPACITY)));
        queue.push(digest(CAPACITY + 1));
        assert!(queue.take_overflowed(), "nothing waits that could make room");
    }

    #[test]
    fn pauses_grow_to_the_longest() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_mins(5));
        let pauses: Vec<_> = [1, 2, 3, 9, 10, u32::MAX].map(|n| pause(n, first, longest).as_secs()).into();
        assert_eq!(pauses, [1, 2, 4, 256, 300, 300]);
    }
}
