//! The content of a skyfile, read from its sectors.

use std::io;
use std::sync::OnceLock;

use bytes::Bytes;
use skynet_formats::profile::SectorSize;
use skynet_formats::sector::{LEAF_SIZE, SectorRoot};

use super::sectors::Sectors;
use crate::sectors::{Held, Sector, Stretch};

/// The source of a skyfile's content.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) sectors: Sectors,
    size: u64,
    place: Place,
    /// Protects the sectors from being swept.
    held: OnceLock<Held>,
}

#[derive(Debug)]
pub(super) enum Place {
    /// In the base sector, from this offset in bytes on.
    Base { sector: Sector, offset: u64 },
    /// In sectors with these roots: for each chunk the data pieces, then the parity pieces. If the content is also
    /// contiguous in a file, it is read from there.
    Fanout { roots: Bytes, data_pieces: usize, chunk_roots: usize, content: Option<Stretch> },
}

/// The open sectors of the last chunk that was read.
#[derive(Debug, Default)]
pub(super) struct OpenChunk {
    index: Option<u64>,
    pieces: Vec<Sector>,
}

pub(super) fn read(sector: &Sector, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; length as usize];
    sector.read_at(&mut bytes, offset)?;
    Ok(Bytes::from(bytes))
}

impl Source {
    /// Content of this length, in bytes, at its place.
    pub(super) fn new(sectors: Sectors, size: u64, place: Place) -> Self {
        Source { sectors, size, place, held: OnceLock::new() }
    }

    /// The whole of one sector.
    pub(super) fn of_sector(sectors: &Sectors, sector: Sector) -> Self {
        let size = sectors.sector_size().bytes() as u64;
        Source::new(sectors.clone(), size, Place::Base { sector, offset: 0 })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of a chunk and its number of data pieces; `None` if the content is in the base sector.
    pub(super) fn chunk(&self) -> Option<(usize, usize)> {
        match &self.place {
            Place::Base { .. } => None,
            Place::Fanout { data_pieces, .. } => Some((data_pieces * self.sectors.sector_size().bytes(), *data_pieces)),
        }
    }

    /// Holds the sectors as long as this lives. A second hold is of the same sectors.
    pub(super) fn keep(&self, held: Held) {
        let _ = self.held.set(held);
    }

    /// The roots of all data pieces.
    pub(super) fn data_roots(&self) -> impl Iterator<Item = SectorRoot> {
        (0..).map_while(|piece| self.data_root(piece))
    }

    /// The root of a data piece, numbered over all chunks.
    pub(super) fn data_root(&self, piece: u64) -> Option<SectorRoot> {
        let Place::Fanout { roots, data_pieces, chunk_roots, .. } = &self.place else { return None };
        let (chunk, piece) = (piece as usize / data_pieces, piece as usize % data_pieces);
        roots.as_chunks().0.get(chunk * chunk_roots + piece).map(|root| SectorRoot::from_bytes(*root))
    }

    /// Some of the bytes at `position`: at least one, at most `limit`. The position must be within the content.
    pub(super) fn read(&self, chunk: &mut OpenChunk, position: u64, limit: usize) -> io::Result<Bytes> {
        let limit = (self.size - position).min(limit as u64);
        match &self.place {
            Place::Base { sector, offset } => read(sector, offset + position, limit),
            Place::Fanout { content: Some(content), .. } => {
                let mut bytes = vec![0; limit as usize];
                content.read_at(&mut bytes, position)?;
                Ok(Bytes::from(bytes))
            }
            Place::Fanout { roots, data_pieces, chunk_roots, content: None } => {
                let sector_size = self.sectors.sector_size();
                let chunk_size = (*data_pieces * sector_size.bytes()) as u64;
                let (index, start) = (position / chunk_size, position % chunk_size);
                if chunk.index != Some(index) {
                    let roots = roots.as_chunks().0.chunks(*chunk_roots).nth(index as usize).unwrap_or_default();
                    *chunk = OpenChunk { index: Some(index), pieces: self.open_pieces(&roots[..*data_pieces])? };
                }
                chunk.read(start, limit.min(chunk_size - start), sector_size)
            }
        }
    }

    fn open_pieces(&self, roots: &[[u8; 32]]) -> io::Result<Vec<Sector>> {
        let open = |root: &[u8; 32]| {
            let root = SectorRoot::from_bytes(*root);
            self.sectors.open_sector(&root)?.ok_or_else(|| {
                tracing::error!(sector.root = %root, "a sector of a skyfile is not here");
                io::ErrorKind::NotFound.into()
            })
        };
        roots.iter().map(open).collect()
    }
}

impl OpenChunk {
    fn read(&self, start: u64, length: u64, sector_size: SectorSize) -> io::Result<Bytes> {
        if let [piece] = &self.pieces[..] {
            return read(piece, start, length);
        }
        // Whole rows, with the surplus at both ends cut off.
        let row = (LEAF_SIZE * self.pieces.len()) as u64;
        let (first, end) = (start / row, (start + length).div_ceil(row));
        let rows = (end - first) as usize;
        let mut content = vec![0; rows * row as usize];
        let mut shard = vec![0; (rows * LEAF_SIZE).min(sector_size.bytes())];
        for (index, piece) in self.pieces.iter().enumerate() {
            piece.read_at(&mut shard, first * LEAF_SIZE as u64)?;
            for (row, segment) in content.chunks_exact_mut(row as usize).zip(shard.chunks_exact(LEAF_SIZE)) {
                row[index * LEAF_SIZE..][..LEAF_SIZE].copy_from_slice(segment);
            }
        }
        let skipped = (start - first * row) as usize;
        Ok(Bytes::from(content).slice(skipped..skipped + length as usize))
    }
}
