//! Unreferenced files of content that stay while a backup copies files.
//!
//! A backup first has files kept, then copies the journal, then the files that it references. Each of those is there until
//! the backup ends. A removal checks two things in this order, under the digest's lock: that the content is not
//! referenced, and that files are not kept. If they are not kept yet, the journal is copied later, and does not reference
//! the content: no reference can be added while the lock is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Knows whether files are kept.
#[derive(Debug, Default)]
pub(crate) struct Keeper(Arc<AtomicUsize>);

/// While it lives, files are kept.
#[derive(Debug)]
pub struct KeptFiles(Arc<AtomicUsize>);

impl Keeper {
    pub(crate) fn keep(&self) -> KeptFiles {
        self.0.fetch_add(1, Ordering::SeqCst);
        KeptFiles(Arc::clone(&self.0))
    }

    /// True while anyone keeps them.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

impl Drop for KeptFiles {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
