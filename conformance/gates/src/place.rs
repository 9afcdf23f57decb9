//! Small disks for single cases, mounted in a namespace of the judge and its servers, so that they always vanish with
//! these.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::program::Program;

const MIB: u64 = 1 << 20;

/// The permission to mount, in a mount namespace of our own.
#[derive(Debug)]
pub struct Mounts(());

impl Mounts {
    /// Leaves the machine's mount namespace. Later mounts are visible only to our children.
    #[expect(unsafe_code, reason = "std has no unshare")]
    pub fn private() -> anyhow::Result<Self> {
        // SAFETY: it takes only flags. The calling thread is the one that later spawns servers and `mount`.
        let status = unsafe { libc::unshare(libc::CLONE_NEWNS) };
        ensure!(status == 0, "unshare: {}", io::Error::last_os_error());
        Program::new("mount", Path::new("/dev/null")).args(["--make-rprivate", "/"]).run()?;
        Ok(Mounts(()))
    }
}

/// A mounted file system. Dropping it unmounts it.
#[derive(Debug)]
pub struct Mount {
    pub path: PathBuf,
}

impl Mount {
    /// A file system in memory of this size.
    pub fn tmpfs(_: &Mounts, at: &Path, mebibytes: u64) -> anyhow::Result<Mount> {
        Mount::new(at, &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "none"])
    }

    /// An ext4 on a loop device over a sparse file in the parent directory.
    pub fn ext4(mounts: &Mounts, at: &Path, mebibytes: u64) -> anyhow::Result<Mount> {
        Mount::ext4_of(mounts, at, &at.with_extension("image"), mebibytes)
    }

    /// An ext4 on a loop device over this sparse file.
    pub fn ext4_of(_: &Mounts, at: &Path, image: &Path, mebibytes: u64) -> anyhow::Result<Mount> {
        fs::create_dir_all(at)?;
        File::create(image)?.set_len(mebibytes * MIB)?;
        Program::new("mkfs.ext4", Path::new("/dev/null")).args(["-q", "-F", "-m", "0"]).arg(image).run()?;
        Mount::new(at, &["-t", "ext4", "-o", "loop", &image.display().to_string()])
    }

    pub fn new(at: &Path, how: &[&str]) -> anyhow::Result<Self> {
        fs::create_dir_all(at)?;
        Program::new("mount", Path::new("/dev/null")).args(how).arg(at).limit(Duration::from_secs(20)).run()?;
        Ok(Mount { path: at.to_owned() })
    }

    /// Its block device as `MAJOR:MINOR`.
    pub fn device(&self) -> anyhow::Result<String> {
        let found = Program::new("findmnt", Path::new("/dev/null")).args(["-no", "MAJ:MIN"]).arg(&self.path).run()?;
        Ok(String::from_utf8_lossy(&found.stdout).trim().to_owned())
    }

    /// Bytes that can still be written, as `statvfs` reports to the server.
    pub fn free(&self) -> anyhow::Result<u64> {
        free_below(&self.path)
    }

    /// Writes a file until this number of bytes is free, or fewer.
    pub fn fill_up_to(&self, free: u64) -> anyhow::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path.join("ballast"))?;
        let block = vec![0xA5; MIB as usize];
        while self.free()? > free {
            file.write_all(&block)?;
        }
        Ok(file.sync_all()?)
    }

    pub fn remount(&self, how: &str) -> anyhow::Result<()> {
        let options = format!("remount,{how}");
        Program::new("mount", Path::new("/dev/null")).args(["-o", &options]).arg(&self.path).run().map(drop)
    }

    fn unmount(&self, how: &[&str]) -> anyhow::Result<()> {
        Program::new("umount", Path::new("/dev/null")).args(how).arg(&self.path).run().map(drop)
    }

    /// Writes a file until no further byte fits.
    pub fn fill(&self) -> anyhow::Result<PathBuf> {
        fill_below(&self.path)
    }
}

fn fill_below(path: &Path) -> anyhow::Result<PathBuf> {
    let path = path.join("filler");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    for step in [MIB as usize, 4096, 1] {
        let block = vec![0xA5; step];
        loop {
            match file.write(&block) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("fill the disk"),
            }
        }
    }
    Ok(path)
}

/// Bytes that can still be written below a directory, as `statvfs` reports to the server.
#[expect(unsafe_code, reason = "std has no statvfs")]
fn free_below(path: &Path) -> anyhow::Result<u64> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut answer = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends with a NUL, and `answer` is a writable statvfs.
    let status = unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) };
    ensure!(status == 0, "statvfs: {}", io::Error::last_os_error());
    // SAFETY: statvfs returned 0, so it filled the whole structure.
    let answer = unsafe { answer.assume_init() };
    Ok(answer.f_bavail * answer.f_frsize)
}

/// Another program that takes each byte of a file system as soon as it is free.
#[derive(Debug)]
pub struct Filler {
    path: PathBuf,
    ended: Sender<()>,
    thread: JoinHandle<anyhow::Result<u64>>,
}

impl Mount {
    /// Keeps the file system full.
    pub fn keep_full(&self) -> anyhow::Result<Filler> {
        let (ended, until) = mpsc::channel();
        let (path, mount) = (self.fill()?, self.path.clone());
        let thread = thread::spawn(move || {
            let mut times = 1;
            while until.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
                if free_below(&mount)? > 0 {
                    fill_below(&mount)?;
                    times += 1;
                }
            }
            Ok(times)
        });
        Ok(Filler { path, ended, thread })
    }
}

impl Filler {
    /// Frees what was taken. Returns how often that was.
    pub fn stop(self) -> anyhow::Result<u64> {
        drop(self.ended);
        let times = self.thread.join().map_err(|_| anyhow::anyhow!("the filler panicked"))??;
        fs::remove_file(self.path)?;
        Ok(times)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.unmount(&[]).is_err() {
            let _ = self.unmount(&["--lazy"]);
        }
    }
}
