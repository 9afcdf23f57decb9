//! Since when an unreferenced blob is only waiting to be collected.
//!
//! Whoever is told that a blob exists may build a manifest on it, so each upload, mount or existence answer starts its
//! grace period anew. The times live in memory: a start counts as an answer for every blob. The table is bounded; when it
//! is full and nothing in it is old, everything is treated as touched now, which only delays collection.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::oci::{Digest, RepositoryName};

/// Most blobs remembered; 16 bytes each.
const CAPACITY: usize = 256 * 1024;

/// The table. Entries are hashes: two blobs that share one live a little longer.
#[derive(Debug)]
pub(crate) struct GraceTable {
    grace: Duration,
    hasher: std::hash::RandomState,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    floor: Instant,
    touched: HashMap<u64, Instant>,
    /// The one blob that is being collected right now.
    collecting: Option<u64>,
}

/// What a touch met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    /// The blob is safe for the grace period, if it exists.
    Kept,
    /// It is being collected at this moment: take its lock, then look again.
    BeingCollected,
}

impl GraceTable {
    pub(crate) fn new(grace: Duration) -> Self {
        let inner = Inner { floor: Instant::now(), touched: HashMap::new(), collecting: None };
        GraceTable { grace, hasher: std::hash::RandomState::new(), inner: Mutex::new(inner) }
    }

    /// Starts the grace period of a blob anew. To be called *before* looking whether it exists.
    pub(crate) fn touch(&self, repository: &RepositoryName, digest: &Digest) -> Touch {
        let key = self.hasher.hash_one((repository, digest));
        let mut inner = self.lock();
        if inner.collecting == Some(key) {
            return Touch::BeingCollected;
        }
        let now = Instant::now();
        if inner.touched.len() >= CAPACITY {
            let grace = self.grace;
            inner.touched.retain(|_, at| now.duration_since(*at) < grace);
            if inner.touched.len() >= CAPACITY {
                inner.touched.clear();
                inner.floor = now;
            }
        }
        inner.touched.insert(key, now);
        Touch::Kept
    }

    /// Forgets a blob that does not exist, so that asking for what is not there fills no table.
    pub(crate) fn forget(&self, repository: &RepositoryName, digest: &Digest) {
        let key = self.hasher.hash_one((repository, digest));
        self.lock().touched.remove(&key);
    }

    /// True if the grace period is over; then the blob counts as being collected until [`GraceTable::end_collecting`].
    pub(crate) fn begin_collecting(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let key = self.hasher.hash_one((repository, digest));
        let mut inner = self.lock();
        let since = inner.touched.get(&key).copied().unwrap_or(inner.floor).max(inner.floor);
        let over = since.elapsed() >= self.grace;
        if over {
            inner.collecting = Some(key);
        }
        over
    }

    /// The collection of a blob is done, either way.
    pub(crate) fn end_collecting(&self, repository: &RepositoryName, digest: &Digest) {
        let key = self.hasher.hash_one((repository, digest));
        let mut inner = self.lock();
        inner.collecting = None;
        inner.touched.remove(&key);
    }

    /// True if the grace period is over, changing nothing.
    pub(crate) fn is_over(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let key = self.hasher.hash_one((repository, digest));
        let inner = self.lock();
        let since = inner.touched.get(&key).copied().unwrap_or(inner.floor).max(inner.floor);
        since.elapsed() >= self.grace
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob() -> (RepositoryName, Digest) {
        ("a".parse().unwrap(), format!("sha256:{}", "0".repeat(64)).parse().unwrap())
    }

    #[test]
    fn a_touch_starts_the_grace_period_anew() {
        let (repository, digest) = blob();
        let table = GraceTable::new(Duration::from_millis(80));
        assert!(!table.is_over(&repository, &digest));
        std::thread::sleep(Duration::from_millis(100));
        assert!(table.is_over(&repository, &digest));
        assert_eq!(table.touch(&repository, &digest), Touch::Kept);
        assert!(!table.begin_collecting(&repository, &digest));
    }

    #[test]
    fn a_touch_during_collection_is_told_to_wait() {
        let (repository, digest) = blob();
        let table = GraceTable::new(Duration::ZERO);
        assert!(table.begin_collecting(&repository, &digest));
        assert_eq!(table.touch(&repository, &digest), Touch::BeingCollected);
        table.end_collecting(&repository, &digest);
        assert_eq!(table.touch(&repository, &digest), Touch::Kept);
    }
}
