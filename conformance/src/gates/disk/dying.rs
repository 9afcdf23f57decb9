//! A disk that takes no write from some moment on, while what it took before can still be read.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::gates::place::{Mount, Mounts};
use crate::program::Program;

const STEP: usize = 64 << 10;

/// An ext4 on a loop device over an anonymous file in memory. Once that file is sealed, every write to the device fails
/// with EIO. (A loop device over a full file system will not do: it takes a write that was cut short for a whole one, so
/// that a sync succeeds which should not.)
#[derive(Debug)]
pub struct DyingDisk {
    fs: Option<Mount>,
    at: PathBuf,
    image: File,
    length: u64,
}

impl DyingDisk {
    pub fn new(_: &Mounts, at: &Path, mebibytes: u64) -> anyhow::Result<Self> {
        let length = mebibytes << 20;
        let mut disk = DyingDisk { fs: None, at: at.join("fs"), image: anonymous(length)?, length };
        Program::new("mkfs.ext4", Path::new("/dev/null")).args(["-q", "-F", "-m", "0"]).arg(disk.device()).run()?;
        disk.attach()?;
        Ok(disk)
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    fn device(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.image.as_raw_fd())
    }

    /// Mounts the file system; it replays its journal, as after a power cut.
    fn attach(&mut self) -> anyhow::Result<()> {
        self.fs = Some(Mount::new(&self.at, &["-t", "ext4", "-o", "loop,errors=remount-ro", &self.device()])?);
        Ok(())
    }

    /// From here on every write to the device fails.
    #[expect(unsafe_code, reason = "std has no seals")]
    pub fn die(&self) -> anyhow::Result<()> {
        // SAFETY: the descriptor is our own and open; the call takes no pointer.
        let status = unsafe { libc::fcntl(self.image.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_FUTURE_WRITE) };
        ensure!(status == 0, "seal the disk: {}", io::Error::last_os_error());
        Ok(())
    }

    /// As if the power went, and what had reached the disk was copied to a sound one: what it did not take is gone.
    pub fn replace(&mut self) -> anyhow::Result<()> {
        self.fs = None;
        let copy = anonymous(self.length)?;
        let (mut block, zeros) = (vec![0; STEP], vec![0; STEP]);
        for offset in (0..self.length).step_by(STEP) {
            self.image.read_exact_at(&mut block, offset).context("read the dead disk")?;
            if block != zeros {
                copy.write_all_at(&block, offset)?;
            }
        }
        self.image = copy;
        let checked = Program::new("e2fsck", Path::new("/dev/null")).args(["-f", "-y"]).arg(self.device()).run_any()?;
        // 1: errors were corrected.
        ensure!(matches!(checked.status.code(), Some(0 | 1)), "e2fsck ended with {}", checked.status);
        self.attach()
    }

    /// Lets ext4 meet an error of its own, on which it turns read-only.
    pub fn turn_read_only(&self) -> anyhow::Result<()> {
        let found = Program::new("findmnt", Path::new("/dev/null")).args(["-no", "SOURCE"]).arg(&self.at).run()?;
        let device = String::from_utf8_lossy(&found.stdout).trim().trim_start_matches("/dev/").to_owned();
        let trigger = PathBuf::from(format!("/sys/fs/ext4/{device}/trigger_fs_error"));
        fs::write(&trigger, "on purpose").with_context(|| format!("write {}", trigger.display()))?;
        ensure!(File::create(self.at.join("probe")).is_err(), "ext4 is still writable after its error");
        Ok(())
    }
}

/// A file in memory that can be sealed.
#[expect(unsafe_code, reason = "std has no memfd_create")]
fn anonymous(length: u64) -> anyhow::Result<File> {
    // SAFETY: the name is a constant that ends with NUL.
    let descriptor = unsafe { libc::memfd_create(c"disk".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    ensure!(descriptor >= 0, "memfd_create: {}", io::Error::last_os_error());
    // SAFETY: it was just made, and nobody else has it.
    let file = unsafe { File::from_raw_fd(descriptor) };
    file.set_len(length)?;
    Ok(file)
}
