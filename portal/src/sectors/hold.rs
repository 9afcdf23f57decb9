//! Which sectors must not be swept though no pin reaches them yet.
//!
//! One table for the whole store. Whoever is about to rely on a sector adds it here *before* looking whether it stands, or
//! before it gets its name; the sweep looks here and unlinks under the table's lock. So either the sweep sees the hold and
//! keeps the file, or the file was gone before anybody relied on it. A hold ends after the pin is durable; a sweep that is
//! under way then may have read the pins before, so the end of a hold is reported to it (`Reached`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use storage_backends::skynet::sector::SectorRoot;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    held: HashMap<SectorRoot, u32>,
}

impl Holds {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Each change of the table is one call on a map, which leaves it whole whoever panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds of one upload or pin; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Held {
    holds: Arc<Holds>,
    /// Not more than a base sector has room for in its fanout, since that is where they are listed in the end.
    roots: Vec<SectorRoot>,
}

impl Held {
    pub(super) fn new(holds: Arc<Holds>) -> Self {
        Held { holds, roots: Vec::new() }
    }

    /// Holds one more.
    pub(crate) fn add(&mut self, root: SectorRoot) {
        *self.holds.table().held.entry(root).or_default() += 1;
        self.roots.push(root);
    }

    /// What is held.
    pub(crate) fn roots(&self) -> &[SectorRoot] {
        &self.roots
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = self.holds.table();
        for root in &self.roots {
            if let Some(count) = table.held.get_mut(root) {
                *count -= 1;
                if *count == 0 {
                    table.held.remove(root);
                }
            }
        }
    }
}
