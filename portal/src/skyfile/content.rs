//! From content to sectors: what an upload is while its bytes come, without anything asynchronous.

use storage_backends::skynet::base_sector::{AssembleError, BaseSector};
use storage_backends::skynet::layout::Layout;
use storage_backends::skynet::profile::Profile;
use storage_backends::skynet::skylink::Skylink;

use super::chunks::Chunks;
use super::error::WriteError;
use crate::pins::Pins;
use crate::sectors::{SectorStore, StagedSector};

/// Where an upload's sectors go.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) sectors: SectorStore,
    pub(super) pins: Pins,
    /// How the content is cut.
    pub(super) profile: Profile,
    /// Compute the skylink and store nothing.
    pub(super) dry: bool,
}

/// Content as far as it has come. Dropping it abandons the upload; sectors that were stored already are swept.
#[derive(Debug)]
pub(super) struct Content {
    destination: Destination,
    /// All of it while it may still fit a base sector.
    small: Vec<u8>,
    /// From then on.
    chunks: Option<Chunks>,
    length: u64,
}

impl Content {
    pub(super) fn new(destination: Destination) -> Self {
        Content { destination, small: Vec::new(), chunks: None, length: 0 }
    }

    /// Takes the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.length += bytes.len() as u64;
        let room = self.destination.profile.sector_size().bytes() - Layout::SIZE;
        if self.chunks.is_none() && self.small.len() + bytes.len() <= room {
            self.small.extend_from_slice(bytes);
            return Ok(());
        }
        self.chunks()?.write(bytes)
    }

    /// Ends the content: all of it is stored, durable and pinned afterwards.
    pub(super) fn finish(mut self, metadata: &[u8]) -> Result<Skylink, WriteError> {
        if self.chunks.is_none() {
            match BaseSector::small(self.destination.profile.sector_size(), metadata, &self.small) {
                Ok(base) => return store(&self.destination, None, &base),
                // Not with its metadata: it gets a fanout after all.
                Err(AssembleError::ContentTooLarge { .. }) if !self.small.is_empty() => drop(self.chunks()?),
                Err(error) => return Err(error.into()),
            }
        }
        let chunks = std::mem::take(&mut self.chunks);
        let (batch, fanout) = chunks.map(Chunks::finish).transpose()?.unwrap_or_default();
        let base = BaseSector::large(self.destination.profile, self.length, metadata, &fanout)?;
        store(&self.destination, batch, &base)
    }

    /// The content as chunks, to which what was held back goes first.
    fn chunks(&mut self) -> Result<&mut Chunks, WriteError> {
        if self.chunks.is_none() {
            let mut chunks = Chunks::new(&self.destination);
            chunks.write(&std::mem::take(&mut self.small))?;
            self.chunks = Some(chunks);
        }
        // It was put there, or stood there.
        self.chunks.as_mut().ok_or(WriteError::Failed)
    }
}

/// The last steps of an upload: after them it survives anything but the loss of the disk.
pub(super) fn store(
    destination: &Destination,
    batch: Option<crate::sectors::Batch>,
    base: &BaseSector,
) -> Result<Skylink, WriteError> {
    if destination.dry {
        return Ok(base.skylink());
    }
    let mut batch = batch.unwrap_or_else(|| destination.sectors.batch());
    let mut sector = StagedSector::new(&destination.sectors)?;
    sector.write_at(base.bytes(), 0)?;
    batch.add(sector, base.root())?;
    // 1. All sectors, those of the content before the base sector's name. A crash up to here: sectors without a pin, swept.
    let held = batch.finish()?;
    // 2. The pin. From here on the skyfile stays. A crash before the answer: the client does not know, and repeats it.
    destination.pins.add(&base.skylink())?;
    drop(held);
    Ok(base.skylink())
}
