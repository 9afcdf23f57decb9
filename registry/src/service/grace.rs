//! Grace periods of unreferenced blobs.
//!
//! A client that is told that a blob exists may push a manifest with it. So each upload, mount or existence check
//! restarts the blob's grace period. The times are kept in memory: a start counts as a check of every blob. The table
//! has a limit. If it is full of recent entries, all blobs count as touched now, which only delays collection.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::oci::{Digest, RepositoryName};

/// Most blobs in the table, at 16 bytes each.
const CAPACITY: usize = 256 * 1024;

/// The table. Keys are hashes. If two blobs share a hash, both stay a little longer.
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
    /// The blob being collected now.
    collecting: Option<u64>,
}

/// The result of a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    /// If the blob exists, it stays for the grace period.
    Kept,
    /// It is being collected now. The caller must wait for its lock and look again.
    BeingCollected,
}

impl GraceTable {
    pub(crate) fn new(grace: Duration) -> Self {
        let inner = Inner { floor: Instant::now(), touched: HashMap::new(), collecting: None };
        GraceTable { grace, hasher: std::hash::RandomState::new(), inner: Mutex::new(inner) }
    }

    /// Restarts the grace period of a blob. The caller must do this *before* it looks whether the blob exists.
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

    /// Forgets a blob that does not exist, so that requests for missing blobs cannot fill the table.
    pub(crate) fn forget(&self, repository: &RepositoryName, digest: &Digest) {
        let key = self.hasher.hash_one((repository, digest));
        self.lock().touched.remove(&key);
    }

    /// True if the grace period is over. The blob then counts as being collected until [`GraceTable::end_collecting`].
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

    /// Ends the collection of a blob, whatever its outcome.
    pub(crate) fn end_collecting(&self, repository: &RepositoryName, digest: &Digest) {
        let key = self.hasher.hash_one((repository, digest));
        let mut inner = self.lock();
        inner.collecting = None;
        inner.touched.remove(&key);
    }

    /// True if the grace period is over. Changes nothing.
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
