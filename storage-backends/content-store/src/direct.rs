//! Writes of large pieces past the page cache, as long as the disk keeps up.
//!
//! The page cache costs a copy for pages that are not read again. A virtual machine may also have to get the memory
//! from its host first, and there the first touch of a page costs ten times the copy. On a disk slower than the
//! network, the page cache absorbs a remote read, so it is used there.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::disk;

/// Memory, offsets and lengths of direct writes must be multiples of this, in bytes. No file system asks for more.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// Shorter pieces, in bytes, go through the page cache, which combines them into few long writes.
const SHORTEST: usize = 1024 * 1024;
/// A disk that needs longer per MiB does not keep up.
const PATIENCE: Duration = Duration::from_millis(4);
/// Slow writes after which the rest goes through the page cache.
const SLOW_WRITES: u32 = 2;

/// A second descriptor of a file, if its file system supports direct writes.
#[derive(Debug)]
pub(super) struct Direct {
    file: Option<File>,
    slow: AtomicU32,
}

impl Direct {
    /// Opens the existing file at `path` for direct writes, if its file system supports them.
    pub(super) fn open(path: &Path) -> Self {
        Direct { file: disk::open_direct(path).ok(), slow: AtomicU32::new(0) }
    }

    /// Writes all of `bytes` at `offset`; `false` if they must go through the page cache.
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
            // This file system does not support such writes, or needs another alignment.
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
