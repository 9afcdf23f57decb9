//! Content that arrives in any order: a file of full length beside the uploads, until it is complete.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::content::{create_staging, make_read_only};
use super::direct::Direct;
use super::verify::hash_file;
use super::{ContentStore, StoreError, disk, full_speed, layout, unique_number};
use crate::digest::Digest;
use crate::hasher::Hasher;

/// A file that becomes content, or is removed when this is dropped. If the process is killed, the sweep of uploads
/// removes it.
#[derive(Debug)]
pub struct Staged {
    store: ContentStore,
    name: String,
    path: PathBuf,
    file: Arc<File>,
    direct: Direct,
    length: u64,
}

impl ContentStore {
    /// A file of `length` bytes, for which there is room now. Unwritten bytes read as zeros. Their room is reserved when
    /// they are written, since nobody may ever read them.
    ///
    /// Errors: [`StoreError::DiskFull`].
    pub fn stage(&self, length: u64) -> Result<Staged, StoreError> {
        self.sessions().check_room(length)?;
        let name = layout::temporary_name(unique_number());
        let path = self.layout().uploads.join(&name);
        self.in_flight().insert(name.clone());
        let made = create_staging(&path).and_then(|file| {
            file.set_len(length).map_err(StoreError::io("lengthen", &path))?;
            Ok(file)
        });
        match made {
            Ok(file) => {
                let direct = Direct::open(&path);
                Ok(Staged { store: self.clone(), name, path, file: Arc::new(file), direct, length })
            }
            Err(error) => {
                let _ = fs::remove_file(&path);
                self.in_flight().remove(&name);
                Err(error)
            }
        }
    }
}

impl Staged {
    /// The file for reading. It stays readable after a drop or a publication.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Writes bytes at `offset`. Long pieces with the alignment of [`DIRECT_ALIGNMENT`](super::DIRECT_ALIGNMENT) may be
    /// on the disk when this returns, and not in the page cache.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        let _room = self.store.reserve(bytes.len() as u64)?;
        let written = match self.direct.write_at(bytes, offset) {
            Ok(false) => disk::write_at(&self.file, bytes, offset),
            direct => direct.map(drop),
        };
        self.store.watch(written.map_err(StoreError::io("write", &self.path)))
    }

    /// True if the bytes match the digest; reads all of them.
    pub fn is(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.store.place(digest)?;
        let mut hasher = Hasher::new(digest.algorithm().expect("a place is only made for a known algorithm"));
        // It needs its own descriptor, because readers may share the position of the other one.
        let mut file = File::open(&self.path).map_err(StoreError::io("open", &self.path))?;
        let hashed = hash_file(&mut file, self.length, &mut hasher, &mut full_speed);
        match hashed.map_err(StoreError::io("read", &self.path))? {
            ControlFlow::Continue(length) => Ok(length == self.length && hasher.finish() == *digest),
            ControlFlow::Break(()) => Ok(false),
        }
    }

    /// Moves the file into the store, durably when it returns. An existing file of the digest is replaced. The caller
    /// has checked that it [is](Staged::is) the digest's content, and has the digest's lock.
    pub fn publish(&self, digest: &Digest) -> Result<(), StoreError> {
        let place = self.store.place(digest)?;
        self.store.ready_directory(&place)?;
        make_read_only(&self.file).map_err(StoreError::io("set the mode of", &self.path))?;
        // A crash up to here: a temporary file, swept at the next start.
        self.store.watch(disk::sync_data(&self.file).map_err(StoreError::io("sync", &self.path)))?;
        let moved = disk::rename(&self.path, &place.file).map_err(StoreError::io("move into place", &place.file));
        self.store.watch(moved)?;
        // A crash after the rename: the file exists or not; it is complete, and can be fetched again.
        self.store.sync_names(&place)
    }

    /// Reads exactly these bytes.
    pub fn read_at(&self, length: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Already gone if it was published.
        let _ = fs::remove_file(&self.path);
        self.store.in_flight().remove(&self.name);
    }
}
