//! Which sectors must not be swept, whether or not a pin reaches them.
//!
//! One table for the whole store. Whoever is about to rely on a sector adds it here *before* looking whether it stands, or
//! before it gets its name; the sweep looks here and unlinks under the table's lock. So either the sweep sees the hold and
//! keeps the file, or the file was gone before anybody relied on it. A hold ends after the pin is durable; a sweep that is
//! under way may have read the pins before, so what a hold was of counts as reached in it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skynet_formats::sector::SectorRoot;

use super::reached::Reached;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    held: HashMap<SectorRoot, u32>,
    /// Of the sweep that is under way.
    reached: Option<Reached>,
}

impl Holds {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Each change of the table is one call on a map or of bits, which leaves it whole whoever panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a sweep. There is one at a time.
    pub(super) fn begin_sweep(&self, reached: Reached) {
        self.table().reached = Some(reached);
    }

    /// A pin reaches the sector.
    pub(super) fn mark(&self, root: &SectorRoot) {
        if let Some(reached) = &mut self.table().reached {
            reached.add(root);
        }
    }

    /// Runs `unlink` if nobody needs the sector, before anybody else can begin to.
    pub(super) fn unless_needed(&self, root: &SectorRoot, unlink: impl FnOnce() -> io::Result<()>) -> io::Result<bool> {
        let table = self.table();
        let is_reached = table.reached.as_ref().is_none_or(|reached| reached.contains(root));
        if is_reached || table.held.contains_key(root) {
            return Ok(false);
        }
        unlink().map(|()| true)
    }

    pub(super) fn end_sweep(&self) {
        self.table().reached = None;
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
        for root in &self.roots {
            let mut table = self.holds.table();
            if let Some(reached) = &mut table.reached {
                reached.add(root);
            }
            if let Some(count) = table.held.get_mut(root) {
                *count -= 1;
                if *count == 0 {
                    table.held.remove(root);
                }
            }
        }
    }
}
