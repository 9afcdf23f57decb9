//! Grace periods of unreferenced blobs.
//!
//! A client that is told that a blob exists may push a manifest with it. So each upload, mount or existence check
//! restarts the blob's grace period. The times are kept in memory: a start counts as a check of every blob. The table
//! has a limit. If it is full of recent entries, all blobs count as touched now, which only delays collection.
//!
//! Nobody can keep unreferenced blobs for ever by asking for them. Collections note when they first find a blob
//! unreferenced. One that stays so for [`OVERDUE_GRACES`] is overdue: from then on, existence checks call it absent.
//! Its last grace period still holds, so a client that was told of it earlier loses nothing. A push of its bytes, or a
//! manifest that needed it and was deleted, makes it new.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::oci::{Digest, RepositoryName};

/// Most blobs in each table, at 16 to 24 bytes each.
const CAPACITY: usize = 256 * 1024;

/// Grace periods after which an unreferenced blob is overdue, and after which a session no longer protects blobs.
const OVERDUE_GRACES: u32 = 7;

/// Least time for both. A short grace period says little about how long a push takes.
const LEAST_OVERDUE: Duration = Duration::from_hours(1);

/// The table. Keys are hashes. If two blobs share a hash, both stay a little longer.
#[derive(Debug)]
pub(crate) struct GraceTable {
    grace: Duration,
    overdue: Duration,
    hasher: std::hash::RandomState,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    floor: Instant,
    touched: HashMap<u64, Instant>,
    /// The blob being collected now.
    collecting: Option<u64>,
    /// Blobs that the last collections found unreferenced. If there are too many, some are noted later.
    unreferenced: HashMap<u64, Unreferenced>,
    /// Number of the current collection.
    collection: u64,
}

#[derive(Debug)]
struct Unreferenced {
    since: Instant,
    /// The last collection that found it so.
    seen_by: u64,
}

/// The result of a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    /// If the blob exists, it stays for the grace period.
    Kept,
    /// It is being collected now. The caller must wait for its lock and look again.
    BeingCollected,
    /// It was not touched: no manifest has needed it for too long.
    Overdue,
}

impl GraceTable {
    pub(crate) fn new(grace: Duration) -> Self {
        GraceTable::with_overdue(grace, (OVERDUE_GRACES * grace).max(LEAST_OVERDUE))
    }

    /// A table in which blobs are overdue after this time.
    pub(crate) fn with_overdue(grace: Duration, overdue: Duration) -> Self {
        let inner = Inner {
            floor: Instant::now(),
            touched: HashMap::new(),
            collecting: None,
            unreferenced: HashMap::new(),
            collection: 0,
        };
        GraceTable { grace, overdue, hasher: std::hash::RandomState::new(), inner: Mutex::new(inner) }
    }

    /// Restarts the grace period of a blob before an existence check. The caller must do this *before* it looks whether
    /// the blob exists.
    pub(crate) fn touch(&self, repository: &RepositoryName, digest: &Digest) -> Touch {
        let key = self.key(repository, digest);
        let mut inner = self.lock();
        match inner.is_overdue(key, self.overdue) {
            true => Touch::Overdue,
            false => self.restart(&mut inner, key),
        }
    }

    /// True if collections have found the blob unreferenced for too long. A manifest may have come since the last one.
    pub(crate) fn is_overdue(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let key = self.key(repository, digest);
        self.lock().is_overdue(key, self.overdue)
    }

    /// Makes a blob that is mounted into `to` unreferenced for as long as it was in `from`. Otherwise mounts to and fro
    /// would keep it for ever.
    pub(crate) fn inherit(&self, from: &RepositoryName, to: &RepositoryName, digest: &Digest) {
        let (from, to) = (self.key(from, digest), self.key(to, digest));
        let mut inner = self.lock();
        let Some(since) = inner.unreferenced.get(&from).map(|blob| blob.since) else { return };
        if inner.unreferenced.len() < CAPACITY {
            let seen_by = inner.collection;
            inner.unreferenced.insert(to, Unreferenced { since, seen_by });
        }
    }

    /// Restarts the grace period of a blob that was pushed now, or that a manifest needed until now.
    pub(crate) fn renew(&self, repository: &RepositoryName, digest: &Digest) -> Touch {
        let key = self.key(repository, digest);
        let mut inner = self.lock();
        inner.unreferenced.remove(&key);
        self.restart(&mut inner, key)
    }

    fn restart(&self, inner: &mut Inner, key: u64) -> Touch {
        if inner.collecting == Some(key) {
            return Touch::BeingCollected;
        }
        let now = Instant::now();
        if inner.touched.len() >= CAPACITY {
            inner.touched.retain(|_, at| now.duration_since(*at) < self.grace);
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
        let key = self.key(repository, digest);
        self.lock().touched.remove(&key);
    }

    /// Begins a collection.
    pub(crate) fn begin_collection(&self) {
        self.lock().collection += 1;
    }

    /// Notes that the running collection found a blob unreferenced.
    pub(crate) fn found_unreferenced(&self, repository: &RepositoryName, digest: &Digest) {
        let key = self.key(repository, digest);
        let mut inner = self.lock();
        let seen_by = inner.collection;
        if let Some(blob) = inner.unreferenced.get_mut(&key) {
            blob.seen_by = seen_by;
        } else if inner.unreferenced.len() < CAPACITY {
            inner.unreferenced.insert(key, Unreferenced { since: Instant::now(), seen_by });
        }
    }

    /// Ends a collection of all repositories. Blobs that it did not find are referenced now, or gone.
    pub(crate) fn end_collection(&self) {
        let mut inner = self.lock();
        let collection = inner.collection;
        inner.unreferenced.retain(|_, blob| blob.seen_by == collection);
    }

    /// True if a session that began then keeps the blob from being collected: its client may be about to push a
    /// manifest with it. A session that goes on for too long keeps nothing. One that began after the last client was
    /// told of an overdue blob, and after the grace period from then, does not keep that one.
    pub(crate) fn is_kept_by_session(&self, began: Instant, repository: &RepositoryName, digest: &Digest) -> bool {
        if began.elapsed() >= self.overdue {
            return false;
        }
        let key = self.key(repository, digest);
        let inner = self.lock();
        inner.unreferenced.get(&key).is_none_or(|blob| began < blob.since + self.overdue + self.grace)
    }

    /// True if the grace period is over. The blob then counts as being collected until [`GraceTable::end_collecting`].
    pub(crate) fn begin_collecting(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let key = self.key(repository, digest);
        let mut inner = self.lock();
        let over = inner.since(key).elapsed() >= self.grace;
        if over {
            inner.collecting = Some(key);
        }
        over
    }

    /// Ends the collection of a blob, whatever its outcome.
    pub(crate) fn end_collecting(&self, repository: &RepositoryName, digest: &Digest) {
        let key = self.key(repository, digest);
        let mut inner = self.lock();
        inner.collecting = None;
        inner.touched.remove(&key);
        inner.unreferenced.remove(&key);
    }

    /// Number of blobs with a grace period.
    #[cfg(test)]
    pub(crate) fn touched(&self) -> usize {
        self.lock().touched.len()
    }

    /// True if the grace period is over. Changes nothing.
    pub(crate) fn is_over(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let key = self.key(repository, digest);
        self.lock().since(key).elapsed() >= self.grace
    }

    fn key(&self, repository: &RepositoryName, digest: &Digest) -> u64 {
        self.hasher.hash_one((repository, digest))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    fn is_overdue(&self, key: u64, overdue: Duration) -> bool {
        self.unreferenced.get(&key).is_some_and(|blob| blob.since.elapsed() >= overdue)
    }

    /// The last touch of a blob.
    fn since(&self, key: u64) -> Instant {
        self.touched.get(&key).copied().unwrap_or(self.floor).max(self.floor)
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

    /// A client that repeated HEAD kept a blob for ever.
    #[test]
    fn a_blob_that_nothing_needs_is_overdue_in_the_end() {
        let (repository, digest) = blob();
        let table = GraceTable::with_overdue(Duration::ZERO, Duration::from_millis(50));
        let collection = |found: bool| {
            table.begin_collection();
            if found {
                table.found_unreferenced(&repository, &digest);
            }
            table.end_collection();
        };
        collection(true);
        assert_eq!(table.touch(&repository, &digest), Touch::Kept);
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(table.touch(&repository, &digest), Touch::Overdue);
        assert_eq!(table.renew(&repository, &digest), Touch::Kept, "its bytes were pushed again");
        assert_eq!(table.touch(&repository, &digest), Touch::Kept);
        collection(true);
        std::thread::sleep(Duration::from_millis(60));
        collection(false);
        assert_eq!(table.touch(&repository, &digest), Touch::Kept, "a manifest needs it again");
    }

    #[test]
    fn a_session_keeps_blobs_that_its_client_may_have_been_told_of_and_not_for_ever() {
        let (repository, digest) = blob();
        let overdue = Duration::from_millis(100);
        let table = GraceTable::with_overdue(Duration::from_millis(50), overdue);
        let kept = |began| table.is_kept_by_session(began, &repository, &digest);
        let first = Instant::now();
        assert!(kept(first));
        table.begin_collection();
        table.found_unreferenced(&repository, &digest);
        std::thread::sleep(overdue);
        assert!(!kept(first), "a session that goes on for too long");
        assert!(kept(Instant::now()), "a client was told of the blob within the grace period");
        std::thread::sleep(Duration::from_millis(60));
        assert!(!kept(Instant::now()), "no client was");
    }
}
