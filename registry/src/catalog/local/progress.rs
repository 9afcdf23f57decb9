//! The progress of an index rebuild, for `/readyz` and for telling a slow rebuild from a stuck one.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the facts that a rebuild has read.
#[derive(Debug, Default)]
pub struct Progress {
    facts: AtomicU64,
    at_most: AtomicU64,
}

impl Progress {
    /// Begins a rebuild that will read at most this many facts.
    pub(crate) fn begin(&self, at_most: u64) {
        self.facts.store(0, Ordering::Relaxed);
        self.at_most.store(at_most, Ordering::Relaxed);
    }

    /// Counts a fact.
    pub(crate) fn step(&self) {
        self.facts.fetch_add(1, Ordering::Relaxed);
    }

    /// Facts read by the current rebuild, or the last one.
    pub fn facts(&self) -> u64 {
        self.facts.load(Ordering::Relaxed)
    }

    /// Most facts that it will read. The journal's snapshot may have fewer.
    pub fn at_most(&self) -> u64 {
        self.at_most.load(Ordering::Relaxed)
    }
}
