//! Keeps unreferenced files of content while a backup copies files.
//!
//! A backup first requests that files are kept, then copies the journal, then the files that it references. Each of
//! these exists until the backup ends. A removal makes two checks in this order, under the digest's lock: that the
//! content is unreferenced, and that files are not kept. If they are not kept yet, the journal is copied later and does
//! not reference the content: no reference can be added while the lock is taken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Knows whether files are kept.
#[derive(Debug, Default)]
pub(crate) struct Keeper(Arc<Asking>);

/// Keeps files until it is dropped.
#[derive(Debug)]
pub struct KeptFiles(Arc<Asking>);

/// Number of requests to keep files, and when the first of them began.
#[derive(Debug, Default)]
struct Asking(Mutex<Option<(usize, Instant)>>);

impl Asking {
    fn lock(&self) -> MutexGuard<'_, Option<(usize, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    pub(crate) fn keep(&self) -> KeptFiles {
        self.0.lock().get_or_insert_with(|| (0, Instant::now())).0 += 1;
        KeptFiles(Arc::clone(&self.0))
    }

    /// True while at least one request keeps files.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.0.lock().is_some()
    }

    /// How long files have been kept; `None` if they are not.
    pub(crate) fn asked_for(&self) -> Option<Duration> {
        self.0.lock().map(|(_, since)| since.elapsed())
    }
}

impl Drop for KeptFiles {
    fn drop(&mut self) {
        let mut asking = self.0.lock();
        *asking = asking.map(|(count, since)| (count - 1, since)).filter(|(count, _)| *count > 0);
    }
}
