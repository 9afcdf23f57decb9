//! Part of a file that holds content.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Part of an open file.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// The file, which has all of the part.
    pub file: Arc<File>,
    /// Where the part begins.
    pub start: u64,
    /// Its bytes.
    pub length: u64,
}

impl Stretch {
    /// Fills `buffer` with what stands at `offset`; the stretch has so much.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, self.start + offset)
    }
}
