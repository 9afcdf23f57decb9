//! The steps on the disk that the store's durability rests on.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::EntryStoreError;

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// How many records of one entry may be set aside within one second.
const ASIDE_ATTEMPTS: u32 = 1000;

/// Makes one directory unless it is there.
pub(super) fn make_directory(path: &Path) -> Result<(), EntryStoreError> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result.map_err(EntryStoreError::io("make", path)),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), EntryStoreError> {
    #[cfg(test)]
    faults::check(faults::Step::SyncDirectory).map_err(EntryStoreError::io("sync", path))?;
    File::open(path).and_then(|directory| directory.sync_all()).map_err(EntryStoreError::io("sync", path))
}

/// The first `limit` bytes of a file and, if there is more, one byte more; `None` if there is no file.
pub(super) fn read(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, EntryStoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(EntryStoreError::io("open", path)(error)),
    };
    let mut bytes = Vec::with_capacity(limit + 1);
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(EntryStoreError::io("read", path))?;
    Ok(Some(bytes))
}

/// A new file with these bytes, synced; what stood under the name is a leftover and goes.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), EntryStoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(FILE_MODE);
    let mut file = options.open(path).map_err(EntryStoreError::io("create", path))?;
    write_all(&mut file, bytes).map_err(EntryStoreError::io("write", path))?;
    #[cfg(test)]
    faults::check(faults::Step::SyncData).map_err(EntryStoreError::io("sync", path))?;
    file.sync_data().map_err(EntryStoreError::io("sync", path))
}

fn write_all(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    if let Err(error) = faults::check(faults::Step::Write) {
        file.write_all(&bytes[..bytes.len() / 2])?;
        return Err(error);
    }
    file.write_all(bytes)
}

/// Renames, replacing what stands at `to`.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), EntryStoreError> {
    #[cfg(test)]
    faults::check(faults::Step::Rename).map_err(EntryStoreError::io("move into place", to))?;
    fs::rename(from, to).map_err(EntryStoreError::io("move into place", to))
}

/// Moves a file out of the way, into a directory for a human to look at, and says where to.
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
    rename(file, &target)?;
    // The new name first: a crash between the two syncs must not lose the evidence.
    sync_directory(directory)?;
    sync_directory(file.parent().expect("a record stands in a directory"))?;
    Ok(target)
}

/// Failures on demand, for the thread that asked for them.
#[cfg(test)]
pub(super) mod faults {
    use std::cell::Cell;
    use std::io;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::entries) enum Step {
        Write,
        SyncData,
        Rename,
        SyncDirectory,
    }

    thread_local! {
        static PLAN: Cell<Option<(Step, i32)>> = const { Cell::new(None) };
    }

    /// The next call of this step fails with the system error `errno`.
    pub(in crate::entries) fn plan(step: Step, errno: i32) {
        PLAN.set(Some((step, errno)));
    }

    /// Takes a plan back that nothing came to.
    pub(in crate::entries) fn clear() {
        PLAN.set(None);
    }

    pub(super) fn check(step: Step) -> io::Result<()> {
        match PLAN.get() {
            Some((planned, errno)) if planned == step => {
                PLAN.set(None);
                Err(io::Error::from_raw_os_error(errno))
            }
            _ => Ok(()),
        }
    }
}
