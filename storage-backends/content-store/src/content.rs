//! Reading, writing and removing content files.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::layout::{self, Place};
use super::{ContentStore, StoreError, disk, unique_number};
use crate::digest::Digest;

/// The limit on quarantined files of one digest within one second.
const QUARANTINE_ATTEMPTS: u32 = 1000;

/// The read size in bytes when a file is compared or hashed.
pub(super) const READ_STEP: usize = 256 * 1024;

impl ContentStore {
    /// The length of the content in bytes; `None` if it is not stored.
    pub fn stat(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let Some(place) = self.layout().place(digest) else { return Ok(None) };
        match fs::metadata(&place.file) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("stat", &place.file)(error)),
        }
    }

    /// Opens content for reading. The file stays readable after a removal.
    ///
    /// Errors: [`StoreError::Missing`], [`StoreError::WrongLength`].
    pub fn open_content(&self, digest: &Digest, expected_length: u64) -> Result<File, StoreError> {
        let (place, file) = self.open_file(digest)?;
        let found = file.metadata().map_err(StoreError::io("stat", &place.file))?.len();
        if found != expected_length {
            return Err(StoreError::WrongLength { path: place.file, expected: expected_length, found });
        }
        Ok(file)
    }

    /// Reads small content whole; all of it is in memory.
    ///
    /// Errors: [`StoreError::Missing`], [`StoreError::WrongLength`], [`StoreError::Corrupt`].
    pub fn read_verified(&self, digest: &Digest, expected_length: u64) -> Result<Vec<u8>, StoreError> {
        let place = self.place(digest)?;
        let file = self.open_content(digest, expected_length)?;
        let mut bytes = Vec::with_capacity(expected_length as usize);
        file.take(expected_length).read_to_end(&mut bytes).map_err(StoreError::io("read", &place.file))?;
        let algorithm = digest.algorithm().expect("a place is only made for a known algorithm");
        let computed = Digest::of(algorithm, &bytes);
        if computed == *digest { Ok(bytes) } else { Err(StoreError::Corrupt { path: place.file, computed }) }
    }

    /// Stores small content, durably when it returns. A file already stored under the digest is replaced unless it has
    /// the same bytes. The caller has verified the digest.
    ///
    /// Errors: [`StoreError::UnsupportedAlgorithm`], [`StoreError::DiskFull`].
    pub fn put_bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let place = self.place(digest)?;
        self.ready_directory(&place)?;
        if self.trusts_names(&place)
            && let Some(standing) = open_identical(&place.file, bytes)?
        {
            // It may be a copied file, or a file of another thread that has not synced the name yet.
            self.watch(disk::sync_data(&standing).map_err(StoreError::io("sync", &place.file)))?;
            return self.sync_names(&place);
        }
        let _room = self.reserve(bytes.len() as u64)?;
        let name = layout::temporary_name(unique_number());
        let temporary = self.layout().uploads.join(&name);
        let _guard = self.protect(name);
        self.watch(write_and_move(&temporary, bytes, &place.file)).inspect_err(|_| {
            // Best effort: `uploads` later sweeps a file that stays.
            let _ = fs::remove_file(&temporary);
        })?;
        // A crash after the rename: the file exists or not. If it does, it is unreferenced and is swept.
        self.sync_names(&place)
    }

    /// Removes content; `false` if it was not stored. A crash before it returns may leave the file, unreferenced.
    pub fn remove(&self, digest: &Digest) -> Result<bool, StoreError> {
        let Some(place) = self.layout().place(digest) else { return Ok(false) };
        match fs::remove_file(&place.file) {
            Ok(()) => self.sync_names(&place).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("remove", &place.file)(error)),
        }
    }

    /// Moves damaged content to the quarantine for inspection, and returns its new path.
    ///
    /// Errors: [`StoreError::Missing`].
    pub fn quarantine(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let place = self.place_of_content(digest)?;
        let now = SystemTime::now();
        let target = (0..QUARANTINE_ATTEMPTS)
            .map(|attempt| self.layout().quarantined(digest, now, attempt))
            .find(|path| !path.exists())
            .ok_or_else(|| {
                StoreError::io("find a name in", &self.layout().quarantine)(io::ErrorKind::AlreadyExists.into())
            })?;
        disk::rename(&place.file, &target).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::Missing { digest: digest.clone() },
            _ => StoreError::io("quarantine", &place.file)(source),
        })?;
        // The new name first: a crash between the two syncs must not lose the evidence.
        let quarantine = &self.layout().quarantine;
        self.watch(disk::sync_directory(quarantine).map_err(StoreError::io("sync", quarantine)))?;
        self.sync_names(&place)?;
        Ok(target)
    }

    /// The path of the content of this digest.
    pub(super) fn place(&self, digest: &Digest) -> Result<Place, StoreError> {
        let unsupported = || StoreError::UnsupportedAlgorithm { algorithm: digest.algorithm_name().to_owned() };
        self.layout().place(digest).ok_or_else(unsupported)
    }

    /// The path of the content of this digest, for reading. Content of an unsupported algorithm is reported as missing.
    fn place_of_content(&self, digest: &Digest) -> Result<Place, StoreError> {
        self.layout().place(digest).ok_or_else(|| StoreError::Missing { digest: digest.clone() })
    }

    pub(super) fn open_file(&self, digest: &Digest) -> Result<(Place, File), StoreError> {
        let place = self.place_of_content(digest)?;
        match File::open(&place.file) {
            Ok(file) => Ok((place, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Missing { digest: digest.clone() })
            }
            Err(error) => Err(StoreError::io("open", &place.file)(error)),
        }
    }
}

/// Writes a durable file with this content at `target`; the name is not synced yet.
fn write_and_move(temporary: &Path, bytes: &[u8], target: &Path) -> Result<(), StoreError> {
    let file = create_staging(temporary)?;
    disk::write_at(&file, bytes, 0).map_err(StoreError::io("write", temporary))?;
    make_read_only(&file).map_err(StoreError::io("set the mode of", temporary))?;
    // A crash up to here: a temporary file, swept at the next start.
    disk::sync_data(&file).map_err(StoreError::io("sync", temporary))?;
    disk::rename(temporary, target).map_err(StoreError::io("move into place", target))
}

pub(super) fn create_staging(path: &Path) -> Result<File, StoreError> {
    disk::create_staging(path).map_err(StoreError::io("create", path))
}

pub(super) fn make_read_only(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(disk::CONTENT_MODE))
}

/// The file at `path`, if its content is exactly these bytes.
fn open_identical(path: &Path, bytes: &[u8]) -> Result<Option<File>, StoreError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open", path)(error)),
    };
    if file.metadata().map_err(StoreError::io("stat", path))?.len() != bytes.len() as u64 {
        return Ok(None);
    }
    let mut buffer = vec![0; READ_STEP.min(bytes.len())];
    for expected in bytes.chunks(READ_STEP) {
        let found = &mut buffer[..expected.len()];
        // Unreadable content is damaged content: the new bytes replace it.
        if file.read_exact(found).is_err() || found != expected {
            return Ok(None);
        }
    }
    Ok(Some(file))
}
