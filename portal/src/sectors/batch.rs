//! The sectors of one upload: written out as they come, durable together.

use std::collections::VecDeque;
use std::io;

use skynet_formats::sector::SectorRoot;

use super::{Held, SectorStore, StagedSector};

/// Sectors whose write-back was begun and that were not waited for: 64 MiB of full ones, so that the end of an upload
/// finds little left to write.
const UNSYNCED: usize = 16;

/// Sectors on their way into the store. Dropping it leaves those that got there to the sweep.
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

    /// Takes a sector that is complete, with the root of its bytes.
    pub(crate) fn add(&mut self, sector: StagedSector, root: SectorRoot) -> io::Result<()> {
        sector.finish()?;
        // Held before it has its name: a sweep that sees the file sees this too.
        self.held.add(root);
        self.unsynced.push_back((sector, root));
        if self.unsynced.len() > UNSYNCED {
            self.publish_first()?;
        }
        Ok(())
    }

    /// Makes all of them durable. They are kept from the sweep while the answer lives.
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
