//! A sector that is open for reading.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use storage_backends::skynet::profile::SectorSize;
use storage_backends::skynet::sector::{SectorHasher, SectorRoot, sector_root};

/// Reads this much at a time to compute a root, bytes.
const READ_STEP: usize = 256 * 1024;

/// An open sector; it stays readable after a removal.
#[derive(Debug)]
pub(crate) struct Sector {
    file: File,
    /// Bytes in the file; zeros follow up to the sector's size.
    stored: u64,
    size: SectorSize,
}

impl Sector {
    pub(super) fn new(file: File, size: SectorSize) -> io::Result<Self> {
        let stored = file.metadata()?.len();
        Ok(Sector { file, stored, size })
    }

    /// Bytes before the zeros at the end.
    pub(crate) fn stored(&self) -> u64 {
        self.stored
    }

    /// Fills `buffer` with what stands at `offset`, zeros beyond what is stored. Nothing is beyond the sector's size.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(buffer.len() as u64);
        if end > self.size.bytes() as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let stored = self.stored.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let (content, zeros) = buffer.split_at_mut(stored);
        zeros.fill(0);
        self.file.read_exact_at(content, offset)
    }

    /// The root of what is here; `pace` is told of each step's bytes before they are hashed.
    pub(crate) fn compute_root(&self, mut pace: impl FnMut(usize)) -> io::Result<SectorRoot> {
        let mut hasher = SectorHasher::new(self.size);
        let mut buffer = vec![0; READ_STEP.min(self.size.bytes())];
        let mut offset = 0;
        while offset < self.stored {
            let step = (self.stored - offset).min(buffer.len() as u64) as usize;
            self.file.read_exact_at(&mut buffer[..step], offset)?;
            pace(step);
            let _ = hasher.update(&buffer[..step]);
            offset += step as u64;
        }
        Ok(hasher.finish())
    }

    /// A sector is stored without its last zeros. So a file that is too long, ends with a zero, or is empty though its
    /// sector is not, was damaged: a power cut that took the end of a file leaves it so.
    pub(super) fn has_plausible_end(&self, root: &SectorRoot) -> io::Result<bool> {
        if self.stored == 0 {
            return Ok(*root == zero_root(self.size));
        }
        let mut last = [0];
        self.file.read_exact_at(&mut last, self.stored - 1)?;
        Ok(self.stored <= self.size.bytes() as u64 && last != [0])
    }
}

fn zero_root(size: SectorSize) -> SectorRoot {
    static STANDARD: LazyLock<SectorRoot> = LazyLock::new(|| sector_root(SectorSize::STANDARD, &[]));
    if size == SectorSize::STANDARD { *STANDARD } else { sector_root(size, &[]) }
}
