//! The system calls that durability depends on, each wrapped once, so that tests can make it fail.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// Content is private to the process's user, too, and read-only.
pub(super) const CONTENT_MODE: u32 = 0o400;
/// Staging files are private to the process's user.
pub(super) const STAGING_MODE: u32 = 0o600;
/// Directories, too.
pub(super) const DIRECTORY_MODE: u32 = 0o700;

/// Makes an empty file that only this user may read and write. A leftover of the name is replaced, not opened, because
/// it may be read-only.
pub(super) fn create_staging(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(STAGING_MODE).open(path)
}

/// Opens a file for writes that bypass the page cache.
#[cfg(target_os = "linux")]
pub(super) fn open_direct(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path)
}

/// Other systems have no such writes.
#[cfg(not(target_os = "linux"))]
pub(super) fn open_direct(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes all of `bytes` at `offset`. After an error, any part of them may have been written.
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(any(test, feature = "testing"))]
    if let Some(error) = faults::take(faults::Step::Write) {
        file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
        return Err(error);
    }
    file.write_all_at(bytes, offset)
}

/// `fdatasync`: the bytes and the length are on the disk afterwards.
pub fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(any(test, feature = "testing"))]
    faults::check(faults::Step::SyncData)?;
    file.sync_data()
}

/// Makes the names in a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "testing"))]
    faults::check(faults::Step::SyncDirectory)?;
    File::open(path)?.sync_all()
}

/// Renames, replacing a file at `to`.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "testing"))]
    faults::check(faults::Step::Rename)?;
    std::fs::rename(from, to)
}

/// Replaces the file at `place` by one with these bytes, by way of `temporary` in the same directory. It is durable when
/// this returns. A crash or a power cut before leaves the old file or the new one, and perhaps a temporary one.
pub fn replace_file(parts: &[&[u8]], temporary: &Path, place: &Path) -> io::Result<()> {
    write_and_rename(parts, temporary, place, true)?;
    place.parent().map_or(Ok(()), sync_directory)
}

/// Replaces the file at `place`, by way of `temporary` in the same file system. A crash leaves the old file or the new
/// one, never a mixture, and perhaps a temporary one. With `durable`, a power cut does so, too. The new file is certain
/// only when the directory of `place` is synced.
pub(super) fn write_and_rename(parts: &[&[u8]], temporary: &Path, place: &Path, durable: bool) -> io::Result<()> {
    let write = || {
        // 1. The file, beside. A crash after this: what stood stands.
        let file = create_staging(temporary)?;
        let mut offset = 0;
        for part in parts {
            write_at(&file, part, offset)?;
            offset += part.len() as u64;
        }
        if durable {
            sync_data(&file)?;
        }
        // 2. Its name. A crash after this: the new one stands, and after a power cut either of the two.
        rename(temporary, place)
    };
    write().inspect_err(|_| {
        // Best effort, to free its space: the next attempt replaces a remaining file.
        let _ = std::fs::remove_file(temporary);
    })
}

/// Makes one directory unless it exists.
pub fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result,
    }
}

/// Asks the kernel to begin writing a range out. It is only advice: a failure does not matter, since the `fdatasync`
/// that follows reports a failing disk.
#[expect(unsafe_code, reason = "sync_file_range has no safe wrapper")]
pub fn start_write_back(file: &File, offset: u64, length: u64) {
    // SAFETY: no memory is passed, and the descriptor is open for the duration of the call.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset as i64, length as i64, libc::SYNC_FILE_RANGE_WRITE);
    }
}

/// What this process may still use of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Free {
    pub(super) bytes: u64,
    /// `None` where the number of files is not limited.
    pub(super) files: Option<u64>,
}

/// Bytes that this process may still write to the file system of `path`.
pub fn free_space(path: &Path) -> io::Result<u64> {
    free(path).map(|free| free.bytes)
}

/// What this process may still use of the file system of `path`.
#[expect(unsafe_code, reason = "statvfs has no safe wrapper")]
pub(super) fn free(path: &Path) -> io::Result<Free> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut answer = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends with a NUL, and `answer` is a writable statvfs.
    if unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: statvfs returned 0, so it filled the whole structure.
    let answer = unsafe { answer.assume_init() };
    let files = (answer.f_files > 0).then_some(answer.f_favail);
    Ok(Free { bytes: answer.f_bavail.saturating_mul(answer.f_frsize), files })
}

/// Failures on demand, only for the thread that plans them.
#[cfg(any(test, feature = "testing"))]
pub mod faults {
    use std::cell::RefCell;
    use std::io;

    /// A system call that can be made to fail.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Step {
        /// Half of the bytes are written before it fails.
        Write,
        /// Sync of a file.
        SyncData,
        /// Sync of a directory.
        SyncDirectory,
        /// Rename of a file.
        Rename,
    }

    thread_local! {
        static PLAN: RefCell<Option<(Step, u32, i32)>> = const { RefCell::new(None) };
    }

    /// After `passes` calls of this step that succeed, one fails with the system error `errno`.
    pub fn plan(step: Step, passes: u32, errno: i32) {
        PLAN.set(Some((step, passes, errno)));
    }

    /// Removes a plan that no call has used.
    pub fn clear() {
        PLAN.set(None);
    }

    pub(super) fn take(step: Step) -> Option<io::Error> {
        PLAN.with_borrow_mut(|plan| match plan {
            Some((planned, passes, errno)) if *planned == step => {
                let errno = *errno;
                if let Some(left) = passes.checked_sub(1) {
                    *passes = left;
                    return None;
                }
                *plan = None;
                Some(io::Error::from_raw_os_error(errno))
            }
            _ => None,
        })
    }

    pub(super) fn check(step: Step) -> io::Result<()> {
        take(step).map_or(Ok(()), Err)
    }
}
