//! A sector being made: written to a file of its own as its bytes come.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use content_store::{start_write_back, sync_data};
use skynet_formats::sector::SectorRoot;

use super::SectorStore;

/// Sectors are the portal's own and never change.
const MODE: u32 = 0o400;
/// Bytes copied at a time.
const COPY_STEP: u64 = 256 * 1024;

/// The beginning of a sector. Dropping it removes its file.
#[derive(Debug)]
pub(crate) struct StagedSector {
    file: File,
    path: PathBuf,
    /// End of the last byte that is not zero.
    significant: u64,
    /// It is another name of a file that somebody else made.
    taken_over: bool,
    published: bool,
}

impl StagedSector {
    pub(crate) fn new(store: &SectorStore) -> io::Result<Self> {
        let path = store.incoming_path();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(StagedSector { file, path, significant: 0, taken_over: false, published: false })
    }

    /// A sector whose bytes stand in a file already: the first `length` of it. The file gets a second name, and must not
    /// be changed any more; what cannot have one, or is not stored as it is, is copied.
    pub(crate) fn take_over(store: &SectorStore, from: &Path, length: u64) -> io::Result<Self> {
        let source = File::open(from)?;
        let mut last = [0];
        if length > 0 && source.metadata()?.len() == length {
            source.read_exact_at(&mut last, length - 1)?;
        }
        let path = store.incoming_path();
        if last != [0] && fs::hard_link(from, &path).is_ok() {
            return Ok(StagedSector { file: source, path, significant: length, taken_over: true, published: false });
        }
        let mut copy = StagedSector::new(store)?;
        let mut buffer = vec![0; COPY_STEP.min(length) as usize];
        let mut position = 0;
        while position < length {
            let step = COPY_STEP.min(length - position) as usize;
            source.read_exact_at(&mut buffer[..step], position)?;
            copy.write_at(&buffer[..step], position)?;
            position += step as u64;
        }
        Ok(copy)
    }

    /// Puts bytes at `offset`; the sector's size is for the caller to keep. What is never written is zeros.
    pub(crate) fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // The zeros at the end of a sector are not stored, however they are given.
        let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else { return Ok(()) };
        self.file.write_all_at(&bytes[..=last], offset)?;
        self.significant = self.significant.max(offset + last as u64 + 1);
        Ok(())
    }

    /// Begins to write the sector out; nothing is written to it any more.
    pub(super) fn finish(&self) -> io::Result<()> {
        start_write_back(&self.file, 0, self.significant);
        self.file.set_permissions(Permissions::from_mode(MODE))
    }

    /// Puts the sector under its name, which is that of its bytes.
    pub(super) fn publish(mut self, store: &SectorStore, root: &SectorRoot) -> io::Result<()> {
        // 1. The bytes. A crash after this: a file in `incoming/`, removed at the next start.
        sync_data(&self.file)?;
        // 2. The name. A crash after this: the sector stands there or not; if it does, no pin reaches it yet, and it is
        //    swept.
        fs::rename(&self.path, store.path(root))?;
        self.published = true;
        if self.taken_over {
            // Two names of one file stay two: if an earlier attempt got here, the sector stands there under its name.
            let _ = fs::remove_file(&self.path);
        }
        Ok(())
    }
}

impl Drop for StagedSector {
    fn drop(&mut self) {
        if !self.published {
            // What stays is removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}
