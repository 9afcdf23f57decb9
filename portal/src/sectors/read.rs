//! A sector that is open for reading.

use std::fs::File;
use std::io;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use skynet_formats::profile::SectorSize;
use skynet_formats::sector::{SectorHasher, SectorRoot, sector_root};

use super::piece::Piece;
use super::stretch::Stretch;

/// Bytes read at a time to compute a root.
const READ_STEP: usize = 256 * 1024;

/// An open sector; it stays readable after a removal.
#[derive(Debug)]
pub struct Sector {
    /// The first bytes, if they are not in a file.
    head: Bytes,
    /// The bytes after them.
    rest: Rest,
    /// Bytes of both; zeros follow up to the sector's size.
    stored: u64,
    size: SectorSize,
}

/// The bytes of a sector that are in a file.
#[derive(Debug)]
enum Rest {
    Nothing,
    Stretch(Stretch),
    Piece(Piece),
}

impl Sector {
    pub(super) fn new(file: File, size: SectorSize) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Sector::made(size, Bytes::new(), Some(Stretch { file: Arc::new(file), start: 0, length }))
    }

    /// A sector made of bytes in memory, then part of a file, then zeros. It fails if that is longer than a sector.
    pub fn made(size: SectorSize, head: Bytes, stretch: Option<Stretch>) -> io::Result<Self> {
        let length = stretch.as_ref().map_or(0, |stretch| stretch.length);
        let stored = length.checked_add(head.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
        let rest = stretch.map_or(Rest::Nothing, Rest::Stretch);
        Ok(Sector { head, rest, stored, size })
    }

    /// A data piece of content in a file, then zeros.
    pub fn piece(size: SectorSize, piece: Piece) -> Self {
        Sector { head: Bytes::new(), stored: piece.length(), rest: Rest::Piece(piece), size }
    }

    /// Bytes before the zeros at the end.
    pub(crate) fn stored(&self) -> u64 {
        self.stored
    }

    /// Fills `buffer` from `offset`, with zeros after the stored bytes. It fails beyond the sector's size.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(buffer.len() as u64);
        if end > self.size.bytes() as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let stored = self.stored.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let (content, zeros) = buffer.split_at_mut(stored);
        zeros.fill(0);
        self.read_stored(content, offset)
    }

    /// Fills `buffer` from `offset`; that many bytes must be stored there.
    fn read_stored(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let in_head = (self.head.len() as u64).saturating_sub(offset).min(buffer.len() as u64) as usize;
        let (first, rest) = buffer.split_at_mut(in_head);
        if !first.is_empty() {
            first.copy_from_slice(&self.head[offset as usize..][..in_head]);
        }
        if rest.is_empty() {
            return Ok(());
        }
        let behind = offset + in_head as u64 - self.head.len() as u64;
        match &self.rest {
            Rest::Nothing => Err(io::ErrorKind::UnexpectedEof.into()),
            Rest::Stretch(stretch) => stretch.read_at(rest, behind),
            Rest::Piece(piece) => piece.read_at(rest, behind),
        }
    }

    /// The root of the stored bytes; `pace` gets the bytes of each step before they are hashed.
    pub(crate) fn compute_root(&self, mut pace: impl FnMut(usize)) -> io::Result<SectorRoot> {
        let mut hasher = SectorHasher::new(self.size);
        let mut buffer = vec![0; READ_STEP.min(self.size.bytes())];
        let mut offset = 0;
        while offset < self.stored {
            let step = (self.stored - offset).min(buffer.len() as u64) as usize;
            self.read_stored(&mut buffer[..step], offset)?;
            pace(step);
            let _ = hasher.update(&buffer[..step]);
            offset += step as u64;
        }
        Ok(hasher.finish())
    }

    /// False if the file was damaged in a way that its end shows. A sector is stored without its last zeros, so no
    /// valid file is too long, ends with a zero, or is empty for a sector with content. A power cut that removed the
    /// end of a file leaves it so.
    pub(super) fn has_plausible_end(&self, root: &SectorRoot) -> io::Result<bool> {
        if self.stored == 0 {
            return Ok(*root == zero_root(self.size));
        }
        let mut last = [0];
        self.read_stored(&mut last, self.stored - 1)?;
        Ok(self.stored <= self.size.bytes() as u64 && last != [0])
    }
}

/// The root of a sector of zeros.
pub(crate) fn zero_root(size: SectorSize) -> SectorRoot {
    static STANDARD: LazyLock<SectorRoot> = LazyLock::new(|| sector_root(SectorSize::STANDARD, &[]));
    if size == SectorSize::STANDARD { *STANDARD } else { sector_root(size, &[]) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_made_sector_is_its_head_then_its_stretch_then_zeros(
            head in prop::collection::vec(1_u8.., 0..40), file in prop::collection::vec(1_u8.., 0..80),
            start in 0_usize..40, offset in 0_usize..200, length in 0_usize..100,
        ) {
            let size = SectorSize::new(4096).unwrap();
            let start = start.min(file.len());
            let mut whole = [&head[..], &file[start..]].concat();
            let mut disk = tempfile::tempfile().unwrap();
            disk.write_all(&file).unwrap();
            let stretch = Stretch { file: Arc::new(disk), start: start as u64, length: (file.len() - start) as u64 };
            let sector = Sector::made(size, Bytes::from(head), Some(stretch)).unwrap();
            prop_assert_eq!(sector.stored(), whole.len() as u64);
            prop_assert_eq!(sector.compute_root(|_| ()).unwrap(), sector_root(size, &whole));
            whole.resize(size.bytes(), 0);
            let mut read = vec![9; length];
            sector.read_at(&mut read, offset as u64).unwrap();
            prop_assert_eq!(&read, &whole[offset..offset + length]);
            prop_assert!(sector.read_at(&mut read, 4097 - length as u64).is_err() || length == 0);
        }
    }
}
