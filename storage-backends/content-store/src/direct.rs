//! Writes of large pieces past the page cache, as long as the disk keeps up.
//!
//! Pages that nobody needs cost a copy, and the memory of a virtual machine may have to be given to it first: there the
//! first touch of a page costs ten times the copy. On a disk that is slower than the network the cache is what absorbs a
//! read from elsewhere, so there it is used.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::disk;

/// What memory, offsets and lengths must be multiples of: no file system asks for more.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// Shorter pieces go through the page cache, which makes few long writes of them.
const SHORTEST: usize = 1024 * 1024;
/// A disk that takes longer for one MiB does not keep up.
const PATIENCE: Duration = Duration::from_millis(4);
/// Slow writes after which the rest goes through the page cache.
const SLOW_WRITES: u32 = 2;

/// A second descriptor of a file, if its file system can do it.
#[derive(Debug)]
pub(super) struct Direct {
    file: Option<File>,
    slow: AtomicU32,
}

impl Direct {
    /// Of the file that stands there.
    pub(super) fn open(path: &Path) -> Self {
        Direct { file: disk::open_direct(path).ok(), slow: AtomicU32::new(0) }
    }

    /// Writes all of `bytes` at `offset`; `false` if they are to be written otherwise.
    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<bool> {
        let Some(file) = self.file.as_ref().filter(|_| self.slow.load(Ordering::Relaxed) < SLOW_WRITES) else {
            return Ok(false);
        };
        let aligned = bytes.as_ptr().addr().is_multiple_of(DIRECT_ALIGNMENT)
            && bytes.len().is_multiple_of(DIRECT_ALIGNMENT)
            && offset.is_multiple_of(DIRECT_ALIGNMENT as u64);
        if !aligned || bytes.len() < SHORTEST {
            return Ok(false);
        }
        let begun = Instant::now();
        match disk::write_at(file, bytes, offset) {
            // This file system wants something else of such writes, or has none.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {
                self.slow.store(SLOW_WRITES, Ordering::Relaxed);
                return Ok(false);
            }
            outcome => outcome?,
        }
        if begun.elapsed() > PATIENCE * (bytes.len() / SHORTEST) as u32 {
            self.slow.fetch_add(1, Ordering::Relaxed);
        }
        Ok(true)
    }
}
