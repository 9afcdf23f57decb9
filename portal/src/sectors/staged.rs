//! An unfinished sector: written to its own file as its bytes arrive.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use content_store::{Reserved, start_write_back, sync_data};
use skynet_formats::sector::SectorRoot;

use super::SectorStore;

/// Sectors are private to the portal's user and never change.
const MODE: u32 = 0o400;
/// Bytes that a file system may need for a sector beside its content.
const BLOCK: u64 = 4096;
/// Bytes copied at a time.
const COPY_STEP: u64 = 256 * 1024;

/// The beginning of a sector. Dropping it removes its file.
#[derive(Debug)]
pub(crate) struct StagedSector {
    file: File,
    path: PathBuf,
    /// End of the last byte that is not zero.
    significant: u64,
    /// Room for the rest.
    room: Option<Reserved>,
    /// True if it is another name of an existing file.
    taken_over: bool,
    published: bool,
}

impl StagedSector {
    /// A sector that will have at most `length` bytes before its last zeros. Their room is reserved.
    ///
    /// Errors: [`io::ErrorKind::StorageFull`].
    pub(crate) fn new(store: &SectorStore, length: u64) -> io::Result<Self> {
        let room = Some(store.0.room.reserve(length + BLOCK)?);
        let path = store.incoming_path();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(StagedSector { file, path, significant: 0, room, taken_over: false, published: false })
    }

    /// A sector whose bytes are the first `length` bytes of an existing file. The file gets a second name, and must not
    /// be changed afterwards. It is copied if it cannot have a second name, or is not stored unchanged.
    pub(crate) fn take_over(store: &SectorStore, from: &Path, length: u64) -> io::Result<Self> {
        let source = File::open(from)?;
        let mut last = [0];
        if length > 0 && source.metadata()?.len() == length {
            source.read_exact_at(&mut last, length - 1)?;
        }
        let path = store.incoming_path();
        if last != [0] && fs::hard_link(from, &path).is_ok() {
            let taken = StagedSector {
                file: source,
                path,
                significant: length,
                room: None,
                taken_over: true,
                published: false,
            };
            return Ok(taken);
        }
        let mut copy = StagedSector::new(store, length)?;
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

    /// Writes bytes at `offset`; the caller keeps within the sector's size. Unwritten bytes are zeros.
    pub(crate) fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // Zeros at the end of a sector are never stored.
        let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else { return Ok(()) };
        self.file.write_all_at(&bytes[..=last], offset)?;
        if let Some(room) = &mut self.room {
            room.written(last as u64 + 1);
        }
        self.significant = self.significant.max(offset + last as u64 + 1);
        Ok(())
    }

    /// Starts the write-back of the sector; no writes may follow.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.room = None;
        start_write_back(&self.file, 0, self.significant);
        self.file.set_permissions(Permissions::from_mode(MODE))
    }

    /// Renames the file to the root of its bytes.
    pub(super) fn publish(mut self, store: &SectorStore, root: &SectorRoot) -> io::Result<()> {
        // 1. The bytes. A crash after this: a file in `incoming/`, removed at the next start.
        sync_data(&self.file)?;
        // 2. The name. A crash after this: the sector stands there or not; if it does, no pin reaches it yet, and it is
        //    swept.
        fs::rename(&self.path, store.path(root))?;
        self.published = true;
        if self.taken_over {
            // Both names of one file may exist: if an earlier attempt got here, the sector is stored under its name.
            let _ = fs::remove_file(&self.path);
        }
        Ok(())
    }
}

impl Drop for StagedSector {
    fn drop(&mut self) {
        if !self.published {
            // A file that stays is removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}
