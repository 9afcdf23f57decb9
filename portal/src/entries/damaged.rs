//! Damaged records, kept for inspection.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use content_store::{rename, sync_directory};

use super::EntryStoreError;

/// The limit on damaged records of one entry within one second.
const ASIDE_ATTEMPTS: u32 = 1000;

/// Moves a damaged file into the directory for damaged ones, and returns its new path.
pub(super) fn set_aside(file: &Path, directory: &Path) -> Result<PathBuf, EntryStoreError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let target = (0..ASIDE_ATTEMPTS)
        .map(|attempt| match attempt {
            0 => directory.join(format!("{name}-{now}")),
            _ => directory.join(format!("{name}-{now}.{attempt}")),
        })
        .find(|path| !path.exists())
        .ok_or_else(|| EntryStoreError::io("find a name in", directory)(io::ErrorKind::AlreadyExists.into()))?;
    rename(file, &target).map_err(EntryStoreError::io("move into place", &target))?;
    // The new name first: a crash between the two syncs must not lose the evidence.
    for directory in [directory, file.parent().expect("a record stands in a directory")] {
        sync_directory(directory).map_err(EntryStoreError::io("sync", directory))?;
    }
    Ok(target)
}
