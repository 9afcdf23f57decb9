//! The sectors of one upload: written out as they arrive, made durable together.

use std::collections::VecDeque;
use std::io;

use skynet_formats::sector::SectorRoot;

use super::{Held, SectorStore, StagedSector};

/// Sectors with begun write-back that were not waited for: 64 MiB of full ones, so that the end of an upload has little
/// left to write.
const UNSYNCED: usize = 16;

/// Sectors in flight to the store. After a drop, a sweep removes those already stored.
#[derive(Debug)]
pub(crate) struct Batch {
    store: SectorStore,
    unsynced: VecDeque<(StagedSector, SectorRoot)>,
    held: Held,
}

impl Batch {
    pub(super) fn new(store: SectorStore) -> Self {
        let held = store.hold();
        Batch { store, unsynced: VecDeque::new(), held }
    }

    /// Adds a complete sector with the root of its bytes.
    pub(crate) fn add(&mut self, mut sector: StagedSector, root: SectorRoot) -> io::Result<()> {
        sector.finish()?;
        // Held before it gets its name: a sweep that sees the file also sees the hold.
        self.held.add(root);
        self.unsynced.push_back((sector, root));
        if self.unsynced.len() > UNSYNCED {
            self.publish_first()?;
        }
        Ok(())
    }

    /// Makes all of them durable. They are protected from the sweep while the result lives.
    pub(crate) fn finish(mut self) -> io::Result<Held> {
        while !self.unsynced.is_empty() {
            self.publish_first()?;
        }
        // A crash before this: any of the sectors may be missing. None of them is pinned.
        self.store.sync_names(self.held.roots())?;
        Ok(self.held)
    }

    fn publish_first(&mut self) -> io::Result<()> {
        match self.unsynced.pop_front() {
            Some((sector, root)) => sector.publish(&self.store, &root),
            None => Ok(()),
        }
    }
}
