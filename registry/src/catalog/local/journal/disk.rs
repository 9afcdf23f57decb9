//! The journal's interface to the operating system, so that tests can make a disk fail.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Reserves, writes and syncs. Reads are not included: data read is verified by checksum, and `reading.rs` handles
/// unreadable data.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Reserves the first `length` bytes of a file, so that writing them cannot fail for lack of space. New bytes read
    /// as zeros. Idempotent.
    fn allocate(&self, file: &File, length: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the content of a file or a directory durable. `fdatasync` is enough, since lengths are fixed beforehand.
    fn sync(&self, file: &File) -> io::Result<()>;
}

/// The real disk.
///
/// On copy-on-write file systems (btrfs, ZFS), writes to reserved bytes can still fail for lack of space. A full disk
/// may then show as a failed write, after which the node is read-only for some seconds.
#[derive(Debug)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn allocate(&self, file: &File, length: u64) -> io::Result<()> {
        let length = libc::off_t::try_from(length).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open as long as `file` is borrowed; no memory is passed.
        #[expect(unsafe_code, reason = "posix_fallocate has no safe wrapper in std")]
        let code = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) };
        if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
    }

    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// True for errors that mean no space, or no quota for more.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    disk.sync(&File::open(directory)?)
}

/// Drops a synced file from the page cache, so that the next read comes from the disk. This is only advice, so errors
/// are ignored.
pub(super) fn forget_pages(file: &File) {
    // SAFETY: the descriptor is open as long as `file` is borrowed; no memory is passed.
    #[expect(unsafe_code, reason = "posix_fadvise has no safe wrapper in std")]
    unsafe {
        libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED);
    }
}
