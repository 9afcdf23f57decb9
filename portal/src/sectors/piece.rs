//! A data piece of content in a file: the segments of a chunk go to its pieces in turn.

use std::io;

use skynet_formats::sector::LEAF_SIZE;

use super::stretch::Stretch;

/// The length of a segment in bytes, equal to a leaf's.
const SEGMENT: u64 = LEAF_SIZE as u64;

/// Bytes of the chunk that are read at a time, but at least one row of segments.
const STEP: u64 = 256 * 1024;

/// One of the data pieces of a chunk. It ends with the content, and zeros follow.
#[derive(Clone, Debug)]
pub struct Piece {
    chunk: Stretch,
    index: u64,
    pieces: u64,
}

impl Piece {
    /// The piece with number `index`, from 0, of a chunk with `pieces` data pieces.
    pub fn new(chunk: Stretch, index: u8, pieces: u8) -> Self {
        Piece { chunk, index: u64::from(index), pieces: u64::from(pieces.max(1)) }
    }

    /// Bytes before the zeros.
    pub(super) fn length(&self) -> u64 {
        let (rows, rest) = (self.chunk.length / self.row(), self.chunk.length % self.row());
        rows * SEGMENT + rest.saturating_sub(self.index * SEGMENT).min(SEGMENT)
    }

    /// Fills `buffer` from `offset`; the piece must have that many bytes there.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let rows_at_once = (STEP / self.row()).max(1);
        let mut read = Vec::new();
        let mut filled = 0;
        while filled < buffer.len() {
            let position = offset + filled as u64;
            let (first, within) = (position / SEGMENT, position % SEGMENT);
            let rows = (within + (buffer.len() - filled) as u64).div_ceil(SEGMENT).min(rows_at_once);
            // From its segment in the first of these rows to the end of its segment in the last one.
            let start = first * self.row() + self.index * SEGMENT;
            let end = (start + (rows - 1) * self.row() + SEGMENT).min(self.chunk.length);
            read.resize(end.checked_sub(start).ok_or(io::ErrorKind::UnexpectedEof)? as usize, 0);
            self.chunk.read_at(&mut read, start)?;
            let before = filled;
            let mut skipped = within as usize;
            for row in read.chunks(self.row() as usize) {
                let segment = row[..row.len().min(LEAF_SIZE)].get(skipped..).unwrap_or_default();
                let wanted = segment.len().min(buffer.len() - filled);
                buffer[filled..filled + wanted].copy_from_slice(&segment[..wanted]);
                filled += wanted;
                skipped = 0;
            }
            if filled == before {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Bytes of a row, which has one segment of each piece.
    fn row(&self) -> u64 {
        SEGMENT * self.pieces
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;

    use skynet_formats::fanout::Fanout;
    use skynet_formats::profile::Profile;

    use super::super::Sector;
    use super::*;
    use proptest::prelude::*;

    fn of(content: &[u8], start: u64, index: u8, pieces: u8) -> Piece {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![0xee; start as usize]).unwrap();
        file.write_all(content).unwrap();
        Piece::new(Stretch { file: Arc::new(file), start, length: content.len() as u64 }, index, pieces)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pieces_are_those_of_the_coder(
            pieces in 1_u8..6, length in 1_usize..20_000, start in 0_u64..100, offset in 0_usize..4096, wanted in 0_usize..4096,
        ) {
            let profile: Profile = format!("4KiB/{pieces}+2").parse().unwrap();
            let length = length.min(profile.chunk_size() as usize);
            let content: Vec<u8> = (0..length).map(|at| (at / 7 + at) as u8 | 1).collect();
            let mut expected = vec![vec![0; 4096]; usize::from(pieces)];
            let mut fanout = Fanout::new(profile);
            let mut sink = |part: skynet_formats::fanout::PiecePart<'_>| {
                if let Some(piece) = expected.get_mut(usize::from(part.piece)) {
                    piece[part.offset..part.offset + part.bytes.len()].copy_from_slice(part.bytes);
                }
            };
            fanout.update_into(&content, &mut sink);
            let roots = fanout.finish_into(&mut sink);
            for index in 0..pieces {
                let sector = Sector::piece(profile.sector_size(), of(&content, start, index, pieces));
                let whole = &expected[usize::from(index)];
                let stored = whole.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                prop_assert_eq!(sector.stored(), stored as u64);
                prop_assert_eq!(sector.compute_root(|_| ()).unwrap(), roots[usize::from(index)]);
                let mut read = vec![9; wanted.min(4096 - offset)];
                sector.read_at(&mut read, offset as u64).unwrap();
                prop_assert_eq!(&read[..], &whole[offset..offset + read.len()]);
            }
        }
    }

    #[test]
    fn large_pieces_are_read_in_steps() {
        let content: Vec<u8> = (0..3 * 1024 * 1024_u32).map(|at| (at / 64 % 251) as u8).collect();
        let piece = of(&content, 5, 2, 3);
        let mut read = vec![0; piece.length() as usize - 10];
        piece.read_at(&mut read, 10).unwrap();
        let expected: Vec<u8> = content.chunks(64).skip(2).step_by(3).flatten().copied().skip(10).collect();
        assert!(read == expected);
    }

    #[test]
    fn nothing_is_read_behind_its_end() {
        let piece = of(&[7; 200], 0, 1, 2);
        assert_eq!(piece.length(), 64 + 8);
        let mut read = [0; 8];
        piece.read_at(&mut read, 64).unwrap();
        assert_eq!(read, [7; 8]);
        assert!(piece.read_at(&mut read, 65).is_err() && piece.read_at(&mut read, 1 << 40).is_err());
    }
}
