//! Walking over all sectors: to remove unneeded ones, and to find damaged ones.

use std::fs;
use std::io;

use skynet_formats::sector::SectorRoot;

use super::reached::Reached;
use super::{SHARDS, SectorStore};

/// A running sweep. Sectors marked as reached stay, and so do sectors held while it runs.
#[derive(Debug)]
pub(crate) struct Sweep<'a> {
    store: &'a SectorStore,
}

/// The result of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Sectors that were removed.
    pub(crate) sectors: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

impl SectorStore {
    /// Begins a sweep. The caller runs one at a time, and marks reached sectors *after* this call.
    pub(crate) fn begin_sweep(&self, salts: [u64; 4]) -> io::Result<Sweep<'_>> {
        let mut sectors = 0;
        self.walk(|_, _| {
            sectors += 1;
            Ok(())
        })?;
        self.0.holds.begin_sweep(Reached::new(sectors, salts));
        Ok(Sweep { store: self })
    }

    /// Reads all sectors, moves those with wrong bytes to the quarantine, and returns their number.
    pub(crate) fn scrub(&self, mut pace: impl FnMut(usize), stop: impl Fn() -> bool) -> io::Result<u64> {
        let mut damaged = 0;
        self.walk(|root, _| {
            if stop() {
                return Ok(());
            }
            // A missing one was swept meanwhile, or was quarantined when it was opened.
            let Some(sector) = self.open_sector(&root)? else { return Ok(()) };
            match sector.compute_root(&mut pace) {
                Ok(found) if found == root => {}
                Ok(_) => {
                    damaged += 1;
                    self.quarantine(&root)?;
                }
                // The disk may read it another time, and the others are to be checked now.
                Err(error) => tracing::error!(sector.root = %root, %error, "the scrub could not read a sector"),
            }
            Ok(())
        })?;
        Ok(damaged)
    }

    /// Visits all sectors with their lengths, one directory at a time. Invalid names are left alone.
    pub(crate) fn walk(&self, mut visit: impl FnMut(SectorRoot, u64) -> io::Result<()>) -> io::Result<()> {
        for shard in 0..SHARDS {
            for entry in fs::read_dir(self.0.sectors.join(format!("{shard:02x}")))? {
                let entry = entry?;
                let root = entry.file_name().to_str().and_then(|name| name.parse().ok());
                let Some(root) = root else { continue };
                match entry.metadata() {
                    Ok(metadata) => visit(root, metadata.len())?,
                    // Removed meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

impl Sweep<'_> {
    /// Records that a pin reaches the sector.
    pub(crate) fn mark(&self, root: &SectorRoot) {
        self.store.0.holds.mark(root);
    }

    /// Removes unreached sectors. A crash leaves some of them for the next sweep.
    pub(crate) fn remove_unreached(&self) -> io::Result<Swept> {
        let mut swept = Swept::default();
        self.store.walk(|root, length| {
            let unlink = || match fs::remove_file(self.store.path(&root)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
            if self.store.0.holds.unless_needed(&root, unlink)? {
                swept.sectors += 1;
                swept.bytes += length;
            }
            Ok(())
        })?;
        Ok(swept)
    }
}

impl Drop for Sweep<'_> {
    fn drop(&mut self) {
        self.store.0.holds.end_sweep();
    }
}
