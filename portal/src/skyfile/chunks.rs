//! Content that is larger than a base sector: its data pieces become sectors while they arrive.
//!
//! Only the buffers of the coding are in memory. Parity pieces are hashed for the fanout and not stored, because they
//! can be computed again.

use skynet_formats::base_sector::AssembleError;
use skynet_formats::fanout::{Fanout, PiecePart};
use skynet_formats::layout::Layout;
use skynet_formats::profile::Profile;
use skynet_formats::sector::SectorRoot;

use super::destination::{self, Destination};
use super::error::WriteError;
use crate::sectors::{Batch, SectorStore, StagedSector};

/// Content in flight to its sectors.
#[derive(Debug)]
pub(super) struct Chunks {
    profile: Profile,
    fanout: Fanout,
    /// Absent in a dry run, and if the sectors' files are taken over at the end.
    storing: Option<Storing>,
    length: u64,
}

/// The part that stores sectors.
#[derive(Debug)]
struct Storing {
    sectors: SectorStore,
    batch: Batch,
    /// The data pieces of the current chunk; empty between two chunks.
    pieces: Vec<StagedSector>,
}

impl Chunks {
    pub(super) fn new(destination: &Destination) -> Self {
        let Destination { sectors, profile, storing, .. } = destination;
        let written = *storing == destination::Storing::Written;
        let storing = written.then(|| Storing { sectors: sectors.clone(), batch: sectors.batch(), pieces: Vec::new() });
        Chunks { profile: *profile, fanout: Fanout::new(*profile), storing, length: 0 }
    }

    /// Adds the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let chunk_size = self.profile.chunk_size();
        let mut rest = bytes;
        while !rest.is_empty() {
            let started = self.length % chunk_size;
            if started == 0 {
                self.begin_chunk()?;
            }
            let (now, later) = rest.split_at((chunk_size - started).min(rest.len() as u64) as usize);
            match &mut self.storing {
                Some(storing) => storing.write(&mut self.fanout, now)?,
                None => self.fanout.update(now),
            }
            self.length += now.len() as u64;
            rest = later;
            if self.length.is_multiple_of(chunk_size) {
                self.end_chunk()?;
            }
        }
        Ok(())
    }

    /// Ends the content. The sectors become durable with the batch, not before.
    pub(super) fn finish(self) -> Result<(Option<Batch>, Vec<SectorRoot>), WriteError> {
        let Some(mut storing) = self.storing else { return Ok((None, self.fanout.finish())) };
        let mut result = Ok(());
        let roots = self.fanout.finish_into(&mut |part| storing.keep(part, &mut result));
        result?;
        let chunk_roots = self.profile.chunk_roots();
        storing.end_chunk(&roots[roots.len().saturating_sub(chunk_roots)..])?;
        Ok((Some(storing.batch), roots))
    }

    /// Begins a chunk. Fails as soon as the disk is full, or the fanout can no longer fit the base sector.
    fn begin_chunk(&mut self) -> Result<(), WriteError> {
        let sector_size = self.profile.sector_size().bytes();
        let needed = Layout::SIZE + (self.fanout.roots().len() + self.profile.chunk_roots()) * SectorRoot::SIZE;
        if needed > sector_size {
            let (file_size, needed) = (self.length, needed as u64);
            return Err(AssembleError::FanoutTooLarge { file_size, needed, sector_size }.into());
        }
        self.storing.as_mut().map_or(Ok(()), |storing| storing.begin_chunk(self.profile))
    }

    fn end_chunk(&mut self) -> Result<(), WriteError> {
        let roots = self.fanout.roots();
        let last = &roots[roots.len().saturating_sub(self.profile.chunk_roots())..];
        self.storing.as_mut().map_or(Ok(()), |storing| storing.end_chunk(last))
    }
}

impl Storing {
    fn begin_chunk(&mut self, profile: Profile) -> Result<(), WriteError> {
        let length = profile.sector_size().bytes() as u64;
        let pieces = (0..profile.data_pieces()).map(|_| StagedSector::new(&self.sectors, length));
        self.pieces = pieces.collect::<Result<_, _>>()?;
        Ok(())
    }

    fn write(&mut self, fanout: &mut Fanout, bytes: &[u8]) -> Result<(), WriteError> {
        let mut result = Ok(());
        fanout.update_into(bytes, &mut |part| self.keep(part, &mut result));
        result
    }

    /// Writes a part of a data piece, unless an earlier write failed.
    fn keep(&mut self, part: PiecePart<'_>, result: &mut Result<(), WriteError>) {
        if let (Ok(()), Some(piece)) = (&result, self.pieces.get_mut(usize::from(part.piece))) {
            *result = piece.write_at(part.bytes, part.offset as u64).map_err(WriteError::from);
        }
    }

    /// Names the data pieces; `roots` are those of the whole chunk, data before parity.
    fn end_chunk(&mut self, roots: &[SectorRoot]) -> Result<(), WriteError> {
        for (piece, root) in std::mem::take(&mut self.pieces).into_iter().zip(roots) {
            self.batch.add(piece, *root)?;
        }
        Ok(())
    }
}
