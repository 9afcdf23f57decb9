//! CAR archives of version 1: a header that names the roots, then blocks, each with its length and its CID.

use crate::varint::{self, Split};
use crate::{Block, Cid, MAX_BLOCK};

/// Most roots of an archive that is read.
const MAX_ROOTS: usize = 16;

/// The header in DAG-CBOR, a map of two entries: `roots`, and after all roots `version`, which is 1.
const BEFORE_ROOTS: &[u8] = b"\xa2\x65roots";
const AFTER_ROOTS: &[u8] = b"\x67version\x01";
/// An array of up to 23 items.
const ARRAY: u8 = 0x80;
/// Tag 42 and a string of 37 bytes, of which the first is zero: a CID.
const BEFORE_CID: &[u8] = b"\xd8\x2a\x58\x25\x00";

/// The bytes at the beginning of an archive with this root.
pub fn header(root: &Cid) -> Vec<u8> {
    let body = [BEFORE_ROOTS, &[ARRAY | 1], BEFORE_CID, &root.to_bytes(), AFTER_ROOTS].concat();
    let mut header = Vec::with_capacity(body.len() + 1);
    varint::put(body.len() as u64, &mut header);
    header.extend_from_slice(&body);
    header
}

/// The bytes before a block of this length.
pub fn before_block(cid: &Cid, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(Cid::SIZE + 4);
    varint::put((Cid::SIZE + length) as u64, &mut bytes);
    bytes.extend_from_slice(&cid.to_bytes());
    bytes
}

/// Why bytes are not an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CarError {
    /// The header is not of version 1, or has too many roots.
    #[error("not the header of a CAR of version 1 with at most {MAX_ROOTS} roots")]
    Header,
    /// A length is none, or too large.
    #[error("a section of a CAR is longer than a block and its CID")]
    Length,
    /// A CID is of another kind than those of the profile.
    #[error("a block of a CAR has a CID of an unsupported kind")]
    Cid,
    /// The bytes of a block are not those of its CID.
    #[error("the bytes of the block {0} in a CAR are not those that its CID names")]
    OtherBytes(Cid),
    /// It ends within a section.
    #[error("a CAR ends within a section")]
    CutOff,
}

/// Reads an archive from bytes as they arrive. It keeps one block, and what was pushed behind it.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    roots: Option<Vec<Cid>>,
}

impl Reader {
    /// At the beginning of an archive.
    pub fn new() -> Self {
        Reader::default()
    }

    /// Adds bytes. To keep few in memory, take all blocks by [`Reader::block`] before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The roots, once a block was asked for and the header had arrived.
    pub fn roots(&self) -> Option<&[Cid]> {
        self.roots.as_deref()
    }

    /// The next block, checked; `None` if more bytes are needed for it.
    pub fn block(&mut self) -> Result<Option<Block>, CarError> {
        if self.roots.is_none() {
            let longest = BEFORE_ROOTS.len() + 1 + MAX_ROOTS * (BEFORE_CID.len() + Cid::SIZE) + AFTER_ROOTS.len();
            let Some(header) = self.section(longest, CarError::Header)? else { return Ok(None) };
            self.roots = Some(roots(&header).ok_or(CarError::Header)?);
        }
        let Some(section) = self.section(Cid::SIZE + MAX_BLOCK, CarError::Length)? else { return Ok(None) };
        let (cid, bytes) = section.split_at_checked(Cid::SIZE).ok_or(CarError::Length)?;
        let cid = Cid::from_bytes(cid).map_err(|_| CarError::Cid)?;
        if !cid.is_of(bytes) {
            return Err(CarError::OtherBytes(cid));
        }
        Ok(Some(Block { cid, bytes: bytes.to_vec() }))
    }

    /// Says that no more bytes come.
    pub fn end(self) -> Result<(), CarError> {
        if self.roots.is_some() && self.bytes.is_empty() { Ok(()) } else { Err(CarError::CutOff) }
    }

    /// Takes a section off the front, once it has arrived.
    fn section(&mut self, longest: usize, otherwise: CarError) -> Result<Option<Vec<u8>>, CarError> {
        let (length, first) = match varint::split(&self.bytes) {
            Split::Whole(length, first) if length <= longest as u64 => (length as usize, first),
            Split::Unfinished => return Ok(None),
            Split::Whole(..) | Split::Malformed => return Err(otherwise),
        };
        if self.bytes.len() < first + length {
            return Ok(None);
        }
        let rest = self.bytes.split_off(first + length);
        let mut section = std::mem::replace(&mut self.bytes, rest);
        section.drain(..first);
        Ok(Some(section))
    }
}

fn roots(header: &[u8]) -> Option<Vec<Cid>> {
    let (&array, mut rest) = header.strip_prefix(BEFORE_ROOTS)?.split_first()?;
    let count = usize::from(array.checked_sub(ARRAY)?);
    let mut roots = Vec::new();
    for _ in 0..count.min(MAX_ROOTS + 1) {
        let (cid, after) = rest.strip_prefix(BEFORE_CID)?.split_at_checked(Cid::SIZE)?;
        roots.push(Cid::from_bytes(cid).ok()?);
        rest = after;
    }
    (count <= MAX_ROOTS && rest == AFTER_ROOTS).then_some(roots)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Codec, file};

    fn archive(root: &Cid, blocks: &[Block]) -> Vec<u8> {
        let mut bytes = header(root);
        for block in blocks {
            bytes.extend(before_block(&block.cid, block.bytes.len()));
            bytes.extend(&block.bytes);
        }
        bytes
    }

    fn read(bytes: &[u8], step: usize) -> Result<(Vec<Cid>, Vec<Block>), CarError> {
        let (mut reader, mut blocks) = (Reader::new(), Vec::new());
        for piece in bytes.chunks(step.max(1)) {
            reader.push(piece);
            while let Some(block) = reader.block()? {
                blocks.push(block);
            }
        }
        let roots = reader.roots().unwrap_or_default().to_vec();
        reader.end()?;
        Ok((roots, blocks))
    }

    /// As `ipfs dag export` of kubo 0.43.1 begins for the empty file.
    #[test]
    fn an_archive_has_the_bytes_that_others_write() {
        let (root, blocks) = file::blocks(b"");
        let head = b"\x3a\xa2\x65roots\x81\xd8\x2a\x58\x25\x00\x01\x55\x12\x20";
        let bytes = archive(&root.cid, &blocks);
        assert_eq!(bytes[..head.len()], head[..]);
        assert_eq!(bytes.len(), 1 + 0x3a + 1 + Cid::SIZE);
        assert_eq!(read(&bytes, 7), Ok((vec![root.cid], blocks)));
    }

    #[test]
    fn a_block_with_other_bytes_is_refused() {
        let block = Block { cid: Cid::of(Codec::Raw, b"right"), bytes: b"wrong".to_vec() };
        assert_eq!(
            read(&archive(&block.cid, std::slice::from_ref(&block)), 1000),
            Err(CarError::OtherBytes(block.cid))
        );
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_kept() {
        let root = Cid::of(Codec::Raw, b"");
        let after_header = |length: u64| {
            let mut bytes = header(&root);
            varint::put(length, &mut bytes);
            read(&bytes, 1000)
        };
        assert_eq!(after_header((MAX_BLOCK + Cid::SIZE) as u64), Err(CarError::CutOff));
        assert_eq!(after_header((MAX_BLOCK + Cid::SIZE) as u64 + 1), Err(CarError::Length));
        assert_eq!(after_header(u64::MAX), Err(CarError::Length));
        assert_eq!(after_header(0), Err(CarError::Length));
        let mut long_header = Vec::new();
        varint::put(10_000, &mut long_header);
        assert_eq!(read(&long_header, 1000), Err(CarError::Header));
        assert_eq!(read(b"", 1), Err(CarError::CutOff));
        // The first bytes of version 2.
        assert_eq!(read(b"\x0a\xa1\x67version\x02", 1), Err(CarError::Header));
    }

    proptest! {
        #[test]
        fn blocks_come_back_in_any_pieces(contents: Vec<Vec<u8>>, step in 1usize..200) {
            let blocks: Vec<Block> = contents.into_iter().map(|bytes| Block::of(Codec::Raw, bytes)).collect();
            let root = Cid::of(Codec::DagPb, b"");
            prop_assert_eq!(read(&archive(&root, &blocks), step), Ok((vec![root], blocks)));
        }

        #[test]
        fn any_bytes_give_checked_blocks_or_an_error(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let (root, blocks) = file::blocks(b"some content");
            let mut bytes = archive(&root.cid, &blocks);
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            if let Ok((_, blocks)) = read(&bytes, 3) {
                prop_assert!(blocks.iter().all(|block| block.cid.is_of(&block.bytes)));
            }
        }
    }
}
