//! A disk that refuses all writes from some moment on, while earlier data can still be read.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use harness::program::Program;

use crate::place::{Mount, Mounts};

const STEP: usize = 64 << 10;
const MIB: u64 = 1 << 20;
/// Size of the outer file system besides the image, in MiB.
const OVERHEAD: u64 = 64;

/// An ext4 on a loop device over a file of another ext4. Once the outer one has turned read-only, every write and every
/// flush of the device fails with EIO.
///
/// Simpler devices do not work. A loop device over a full file system reports a truncated write as complete. A loop
/// device over sealed memory fails its writes, but its flushes succeed. Then ext4 may report a file and its directory
/// as synced although the transaction with them has failed. We saw this without any server: files that were written,
/// synced, renamed, and whose directory was synced, all without an error, were gone afterwards.
#[derive(Debug)]
pub struct DyingDisk {
    fs: Option<Mount>,
    at: PathBuf,
    below: Below,
}

/// The parts of the device.
#[derive(Debug)]
struct Below {
    /// Closed before its file system is unmounted.
    image: File,
    length: u64,
    fs: Mount,
}

impl DyingDisk {
    pub fn new(_: &Mounts, at: &Path, mebibytes: u64) -> anyhow::Result<Self> {
        let below = Below::new(&at.join("below"), mebibytes * MIB)?;
        run("mkfs.ext4", &["-q", "-F", "-m", "0"], &below.path())?;
        let mut disk = DyingDisk { fs: None, at: at.join("fs"), below };
        disk.attach()?;
        Ok(disk)
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Mounts the file system, which replays its journal as after a power cut.
    fn attach(&mut self) -> anyhow::Result<()> {
        self.fs = Some(mount(&self.at, &self.below.path())?);
        Ok(())
    }

    /// Makes every later write to the device fail.
    pub fn die(&self) -> anyhow::Result<()> {
        turn_read_only(&self.below.fs.path)
    }

    /// Copies what had reached the disk to a sound one, as after a power cut. Everything else is gone.
    pub fn replace(&mut self) -> anyhow::Result<()> {
        self.fs = None;
        let sound = Below::new(&self.at.with_extension("sound"), self.below.length)?;
        self.below.copy_to(&sound)?;
        self.below = sound;
        let check = Program::new("e2fsck", Path::new("/dev/null"));
        let checked = check.args(["-f", "-y"]).arg(self.below.path()).run_any()?;
        // 1: errors were corrected.
        ensure!(matches!(checked.status.code(), Some(0 | 1)), "e2fsck ended with {}", checked.status);
        self.attach()
    }

    /// Makes ext4 find an error of its own, so that it turns read-only.
    pub fn turn_read_only(&self) -> anyhow::Result<()> {
        turn_read_only(&self.at)
    }
}

impl Below {
    /// An empty image of this many bytes.
    fn new(at: &Path, length: u64) -> anyhow::Result<Self> {
        let memory = anonymous(length + OVERHEAD * MIB)?;
        // The loop device keeps the memory alive.
        let memory_path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd()));
        run("mkfs.ext4", &["-q", "-F", "-m", "0"], &memory_path)?;
        let fs = mount(at, &memory_path)?;
        let image = File::options().read(true).write(true).create_new(true).open(at.join(IMAGE))?;
        image.set_len(length)?;
        Ok(Below { image, length, fs })
    }

    fn path(&self) -> PathBuf {
        self.fs.path.join(IMAGE)
    }

    fn copy_to(&self, other: &Below) -> anyhow::Result<()> {
        let (mut block, zeros) = (vec![0; STEP], vec![0; STEP]);
        for offset in (0..self.length).step_by(STEP) {
            self.image.read_exact_at(&mut block, offset).context("read the dead disk")?;
            if block != zeros {
                other.image.write_all_at(&block, offset)?;
            }
        }
        Ok(())
    }
}

const IMAGE: &str = "image";

fn run(program: &str, args: &[&str], device: &Path) -> anyhow::Result<()> {
    Program::new(program, Path::new("/dev/null")).args(args).arg(device).run().map(drop)
}

fn mount(at: &Path, device: &Path) -> anyhow::Result<Mount> {
    Mount::new(at, &["-t", "ext4", "-o", "loop,errors=remount-ro", &device.display().to_string()])
}

/// Makes ext4 find an error.
fn turn_read_only(at: &Path) -> anyhow::Result<()> {
    let found = Program::new("findmnt", Path::new("/dev/null")).args(["-no", "SOURCE"]).arg(at).run()?;
    let device = String::from_utf8_lossy(&found.stdout).trim().trim_start_matches("/dev/").to_owned();
    let trigger = PathBuf::from(format!("/sys/fs/ext4/{device}/trigger_fs_error"));
    fs::write(&trigger, "on purpose").with_context(|| format!("write {}", trigger.display()))?;
    ensure!(File::create(at.join("probe")).is_err(), "ext4 is still writable after its error");
    Ok(())
}

/// A file in memory.
#[expect(unsafe_code, reason = "std has no memfd_create")]
fn anonymous(length: u64) -> anyhow::Result<File> {
    // SAFETY: the name is a constant that ends with NUL.
    let descriptor = unsafe { libc::memfd_create(c"disk".as_ptr(), libc::MFD_CLOEXEC) };
    ensure!(descriptor >= 0, "memfd_create: {}", io::Error::last_os_error());
    // SAFETY: the descriptor is new, and nothing else uses it.
    let file = unsafe { File::from_raw_fd(descriptor) };
    file.set_len(length)?;
    Ok(file)
}
