//! Unreferenced files of content that stay while a backup copies files.
//!
//! A backup first has files kept, then copies the journal, then the files that it references. Each of those is there until
//! the backup ends. A removal checks two things in this order, under the digest's lock: that the content is not
//! referenced, and that files are not kept. If they are not kept yet, the journal is copied later, and does not reference
//! the content: no reference can be added while the lock is taken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Knows whether files are kept.
#[derive(Debug, Default)]
pub(crate) struct Keeper(Arc<Asking>);

/// While it lives, files are kept.
#[derive(Debug)]
pub struct KeptFiles(Arc<Asking>);

/// How many ask for it, and since when any does.
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

    /// True while anyone keeps them.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.0.lock().is_some()
    }

    /// How long anyone has kept them.
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
