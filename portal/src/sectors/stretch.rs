//! Part of a file with content.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Part of an open file.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// The file, which has all of the part.
    pub file: Arc<File>,
    /// The offset of the part in bytes.
    pub start: u64,
    /// The length in bytes.
    pub length: u64,
}

impl Stretch {
    /// Fills `buffer` from `offset`; the stretch must have that many bytes there.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, self.start + offset)
    }
}
