//! The destination of an upload's sectors, and the last steps of an upload.

use std::path::PathBuf;

use skynet_formats::profile::Profile;
use skynet_formats::sector::SectorRoot;
use skynet_formats::skylink::Skylink;

use super::error::WriteError;
use crate::blocklist::Blocklist;
use crate::pins::Pins;
use crate::sectors::{Batch, SectorStore, StagedSector};

/// The destination of an upload's sectors.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) sectors: SectorStore,
    pub(super) pins: Pins,
    pub(super) blocklist: Blocklist,
    /// The profile by which the content is cut.
    pub(super) profile: Profile,
    pub(super) storing: Storing,
}

/// The way in which an upload's sectors are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storing {
    /// They are written while their bytes arrive.
    Written,
    /// Their files are taken over at the end.
    TakenOver,
    /// They are not stored; only the skylink is computed.
    Nothing,
}

impl Destination {
    /// A batch of the sectors in these files.
    pub(super) fn take_over(&self, files: &[(PathBuf, u64)], roots: &[SectorRoot]) -> Result<Batch, WriteError> {
        if files.len() != roots.len() {
            return Err(WriteError::Failed);
        }
        let mut batch = self.sectors.batch();
        for ((file, length), root) in files.iter().zip(roots) {
            batch.add(StagedSector::take_over(&self.sectors, file, *length)?, *root)?;
        }
        Ok(batch)
    }

    /// The last steps of an upload. After them it survives any failure except the loss of the disk.
    pub(super) fn store(
        &self,
        batch: Option<Batch>,
        base: &[u8],
        root: SectorRoot,
        skylink: Skylink,
    ) -> Result<Skylink, WriteError> {
        if self.storing == Storing::Nothing {
            return Ok(skylink);
        }
        if self.blocklist.contains(&root) {
            return Err(WriteError::Blocked);
        }
        let mut batch = batch.unwrap_or_else(|| self.sectors.batch());
        let mut sector = StagedSector::new(&self.sectors, base.len() as u64)?;
        sector.write_at(base, 0)?;
        batch.add(sector, root)?;
        // 1. All sectors. A crash up to here: sectors without a pin, swept.
        let held = batch.finish()?;
        // 2. The pin. From here on the skyfile stays. A crash before the answer: the client does not know, and repeats
        // it.
        self.pins.add(&skylink)?;
        drop(held);
        Ok(skylink)
    }
}
