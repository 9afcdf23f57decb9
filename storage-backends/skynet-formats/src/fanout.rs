//! The fanout of content: the roots of its pieces, computed while the content arrives.
//!
//! A chunk is `data_pieces` sectors of content. Its 64-byte segments go to the data pieces in turn. Each row of
//! segments is coded separately, so parity pieces grow along with the data pieces. Coding needs memory for only one
//! stripe of 4 KiB per piece. With one data piece every piece is the content itself, and the fanout keeps one root.

use sia_reed_solomon::ReedSolomon;

use super::profile::Profile;
use super::sector::{SectorHasher, SectorRoot};
use super::unit_roots::UnitRoots;

/// Bytes of content that go to one data piece before the next gets its turn.
const SEGMENT_SIZE: usize = 64;

/// Bytes of each piece that are coded together; a divisor of every sector size.
const STRIPE_SIZE: usize = 4096;

/// A part of one piece, for storing it. Missing bytes of a piece are zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PiecePart<'a> {
    /// The number of the chunk in the content.
    pub chunk: u64,
    /// The number of the piece in the chunk: data pieces first. With one data piece, all pieces are piece 0.
    pub piece: u8,
    /// The offset of the bytes in the piece.
    pub offset: usize,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Cuts and codes content as it arrives.
#[derive(Debug)]
pub struct Fanout(Coding);

#[derive(Debug)]
enum Coding {
    Plain { roots: UnitRoots, sector_size: usize, taken: u64 },
    Pieces(Box<PieceCoder>),
}

impl Fanout {
    /// Starts with empty content.
    pub fn new(profile: Profile) -> Self {
        let sector_size = profile.sector_size();
        Fanout(match profile.data_pieces() {
            1 => Coding::Plain { roots: UnitRoots::new(sector_size), sector_size: sector_size.bytes(), taken: 0 },
            _ => Coding::Pieces(Box::new(PieceCoder::new(profile))),
        })
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.update_into(bytes, &mut |_| ());
    }

    /// Adds the next bytes, and passes newly completed parts of the pieces to `sink`.
    pub fn update_into(&mut self, bytes: &[u8], sink: &mut dyn FnMut(PiecePart<'_>)) {
        match &mut self.0 {
            Coding::Plain { roots, sector_size, taken } => {
                roots.update(bytes);
                split_at_sectors(bytes, *sector_size, *taken, sink);
                *taken += bytes.len() as u64;
            }
            Coding::Pieces(coder) => coder.update(bytes, sink),
        }
    }

    /// The roots of the pieces of all complete chunks.
    pub fn roots(&self) -> &[SectorRoot] {
        match &self.0 {
            Coding::Plain { roots, .. } => roots.complete(),
            Coding::Pieces(coder) => &coder.roots,
        }
    }

    /// The roots of all pieces, chunk by chunk.
    pub fn finish(self) -> Vec<SectorRoot> {
        self.finish_into(&mut |_| ())
    }

    /// The roots of all pieces, chunk by chunk. The last parts of the pieces go to `sink`.
    pub fn finish_into(self, sink: &mut dyn FnMut(PiecePart<'_>)) -> Vec<SectorRoot> {
        match self.0 {
            Coding::Plain { roots, .. } => roots.finish(),
            Coding::Pieces(coder) => coder.finish(sink),
        }
    }
}

fn split_at_sectors(bytes: &[u8], sector_size: usize, taken: u64, sink: &mut dyn FnMut(PiecePart<'_>)) {
    let mut rest = bytes;
    let mut position = taken;
    while !rest.is_empty() {
        let (chunk, offset) = (position / sector_size as u64, (position % sector_size as u64) as usize);
        let (now, later) = rest.split_at(rest.len().min(sector_size - offset));
        sink(PiecePart { chunk, piece: 0, offset, bytes: now });
        position += now.len() as u64;
        rest = later;
    }
}

/// Codes content into several data pieces and their parity.
#[derive(Debug)]
struct PieceCoder {
    code: ReedSolomon,
    /// The started stripe, a buffer for each piece.
    stripe: Vec<[u8; STRIPE_SIZE]>,
    /// Content bytes in the stripe.
    filled: usize,
    hashers: Vec<SectorHasher>,
    chunk: u64,
    roots: Vec<SectorRoot>,
}

impl PieceCoder {
    fn new(profile: Profile) -> Self {
        let (data, parity) = (usize::from(profile.data_pieces()), usize::from(profile.parity_pieces()));
        PieceCoder {
            code: ReedSolomon::new(data, parity).expect("a profile has at most 64 pieces, and data among them"),
            stripe: vec![[0; STRIPE_SIZE]; data + parity],
            filled: 0,
            hashers: vec![SectorHasher::new(profile.sector_size()); data + parity],
            chunk: 0,
            roots: Vec::new(),
        }
    }

    fn update(&mut self, bytes: &[u8], sink: &mut dyn FnMut(PiecePart<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (segment, started) = (self.filled / SEGMENT_SIZE, self.filled % SEGMENT_SIZE);
            let (row, piece) = (segment / self.code.data_shards(), segment % self.code.data_shards());
            let (now, later) = rest.split_at(rest.len().min(SEGMENT_SIZE - started));
            let offset = row * SEGMENT_SIZE + started;
            self.stripe[piece][offset..offset + now.len()].copy_from_slice(now);
            self.filled += now.len();
            rest = later;
            if self.filled == self.code.data_shards() * STRIPE_SIZE {
                self.complete_stripe(sink);
            }
        }
    }

    fn complete_stripe(&mut self, sink: &mut dyn FnMut(PiecePart<'_>)) {
        self.code.encode(&mut self.stripe).expect("the stripe has a buffer of one size for each piece");
        for (piece, (hasher, bytes)) in self.hashers.iter_mut().zip(&self.stripe).enumerate() {
            sink(PiecePart { chunk: self.chunk, piece: piece as u8, offset: hasher.taken(), bytes });
            let _ = hasher.update(bytes);
        }
        self.stripe.fill([0; STRIPE_SIZE]);
        self.filled = 0;
        if self.hashers[0].is_full() {
            self.complete_chunk();
        }
    }

    fn complete_chunk(&mut self) {
        self.roots.extend(self.hashers.iter_mut().map(SectorHasher::finish));
        self.chunk += 1;
    }

    /// The rest of the stripe is zeros. So are all later stripes, data and parity alike, because the code is linear.
    fn finish(mut self, sink: &mut dyn FnMut(PiecePart<'_>)) -> Vec<SectorRoot> {
        if self.filled > 0 {
            self.complete_stripe(sink);
        }
        if self.hashers[0].taken() > 0 {
            self.complete_chunk();
        }
        self.roots
    }
}

#[cfg(test)]
mod tests;
