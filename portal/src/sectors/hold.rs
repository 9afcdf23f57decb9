//! Holds: sectors that must not be swept, whether or not a pin reaches them.
//!
//! There is one table for the whole store. A task that needs a sector adds it here *before* checking that it exists, or
//! before it gets its name. The sweep looks here and unlinks under the table's lock. So either the sweep sees the hold
//! and keeps the file, or the file was gone before the check. A hold ends after the pin is durable. A running sweep may
//! have read the pins before that, so sectors of an ended hold count as reached in it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skynet_formats::sector::SectorRoot;

use super::reached::Reached;

/// The table of holds.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    held: HashMap<SectorRoot, u32>,
    /// The sectors reached in the running sweep.
    reached: Option<Reached>,
}

impl Holds {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Each change of the table is one call on a map or on bits, so a panic leaves it consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a sweep. Only one may run at a time.
    pub(super) fn begin_sweep(&self, reached: Reached) {
        self.table().reached = Some(reached);
    }

    /// Records that a pin reaches the sector.
    pub(super) fn mark(&self, root: &SectorRoot) {
        if let Some(reached) = &mut self.table().reached {
            reached.add(root);
        }
    }

    /// Runs `unlink` if the sector is neither held nor reached, before a new hold can begin.
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

/// The holds of one upload or pin; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Held {
    holds: Arc<Holds>,
    /// At most as many roots as a base sector's fanout has room for, since they are listed there in the end.
    roots: Vec<SectorRoot>,
}

impl Held {
    pub(super) fn new(holds: Arc<Holds>) -> Self {
        Held { holds, roots: Vec::new() }
    }

    /// Holds one more sector.
    pub(crate) fn add(&mut self, root: SectorRoot) {
        *self.holds.table().held.entry(root).or_default() += 1;
        self.roots.push(root);
    }

    /// The held sectors.
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
