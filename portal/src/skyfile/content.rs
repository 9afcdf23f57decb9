//! From content to sectors: the synchronous part of an upload.

use std::path::PathBuf;

use skynet_formats::base_sector::{AssembleError, BaseSector};
use skynet_formats::layout::Layout;
use skynet_formats::sector::SectorRoot;
use skynet_formats::skylink::Skylink;

use super::chunks::Chunks;
use super::destination::{Destination, Storing};
use super::error::{RestoreError, WriteError};
use super::restore::GivenBase;

/// The content received so far. Dropping it abandons the upload; sectors already stored are swept.
#[derive(Debug)]
pub(super) struct Content {
    destination: Destination,
    /// All of the content, while it may still fit a base sector.
    small: Vec<u8>,
    /// The chunks from then on.
    chunks: Option<Chunks>,
    length: u64,
}

impl Content {
    pub(super) fn new(destination: Destination) -> Self {
        Content { destination, small: Vec::new(), chunks: None, length: 0 }
    }

    /// Adds the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.length += bytes.len() as u64;
        let room = self.destination.profile.sector_size().bytes() - Layout::SIZE;
        if self.chunks.is_none() && self.small.len() + bytes.len() <= room {
            self.small.extend_from_slice(bytes);
            return Ok(());
        }
        self.chunks()?.write(bytes)
    }

    /// Ends the content, which is stored, durable and pinned when this returns. If sectors are taken over, `files` are
    /// their files, each with its number of valid bytes.
    pub(super) fn finish(mut self, metadata: &[u8], files: &[(PathBuf, u64)]) -> Result<Skylink, WriteError> {
        if self.chunks.is_none() {
            match BaseSector::small(self.destination.profile.sector_size(), metadata, &self.small) {
                Ok(base) => return self.destination.store(None, base.bytes(), base.root(), base.skylink()),
                // It does not fit together with its metadata, so it gets a fanout after all.
                Err(AssembleError::ContentTooLarge { .. }) if !self.small.is_empty() => drop(self.chunks()?),
                Err(error) => return Err(error.into()),
            }
        }
        let chunks = std::mem::take(&mut self.chunks);
        let (mut batch, fanout) = chunks.map(Chunks::finish).transpose()?.unwrap_or_default();
        if self.destination.storing == Storing::TakenOver {
            batch = Some(self.destination.take_over(files, &fanout)?);
        }
        let base = BaseSector::large(self.destination.profile, self.length, metadata, &fanout)?;
        self.destination.store(batch, base.bytes(), base.root(), base.skylink())
    }

    /// Ends the content of a base sector made by a client. It is stored only if both match.
    pub(super) fn restore(mut self, base: &GivenBase) -> Result<Skylink, WriteError> {
        if self.length != base.content_length() {
            return Err(RestoreError::Length { expected: base.content_length(), found: self.length }.into());
        }
        let mut batch = None;
        if let Some(expected) = base.fanout() {
            self.chunks()?;
            let chunks = std::mem::take(&mut self.chunks);
            let (sectors, fanout) = chunks.map(Chunks::finish).transpose()?.unwrap_or_default();
            if !fanout.iter().map(SectorRoot::as_bytes).eq(expected) {
                return Err(RestoreError::Fanout.into());
            }
            batch = sectors;
        }
        self.destination.store(batch, base.bytes(), base.root(), base.skylink())
    }

    /// The content as chunks; buffered bytes are added first.
    fn chunks(&mut self) -> Result<&mut Chunks, WriteError> {
        if self.chunks.is_none() {
            let mut chunks = Chunks::new(&self.destination);
            chunks.write(&std::mem::take(&mut self.small))?;
            self.chunks = Some(chunks);
        }
        // It was set just now, or earlier.
        self.chunks.as_mut().ok_or(WriteError::Failed)
    }
}
