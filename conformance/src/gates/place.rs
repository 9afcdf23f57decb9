//! Small disks of a case's own: mounted in a namespace that only the judge and its servers see, so that they vanish with
//! them whatever happens.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::program::Program;

const MIB: u64 = 1 << 20;

/// The right to mount, in a mount namespace of our own.
#[derive(Debug)]
pub struct Mounts(());

impl Mounts {
    /// Leaves the machine's mount namespace; what is mounted from here on is seen by our children only.
    #[expect(unsafe_code, reason = "std has no unshare")]
    pub fn private() -> anyhow::Result<Self> {
        // SAFETY: it takes flags only; the calling thread is the one that later spawns servers and `mount`.
        let status = unsafe { libc::unshare(libc::CLONE_NEWNS) };
        ensure!(status == 0, "unshare: {}", io::Error::last_os_error());
        Program::new("mount", Path::new("/dev/null")).args(["--make-rprivate", "/"]).run()?;
        Ok(Mounts(()))
    }

    /// A file system in memory of this size.
    pub fn tmpfs(&self, at: &Path, mebibytes: u64) -> anyhow::Result<Mount> {
        Mount::new(at, &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "none"])
    }

    /// An ext4 on a loop device over a sparse file in the folder above.
    pub fn ext4(&self, at: &Path, mebibytes: u64) -> anyhow::Result<Mount> {
        let image = at.with_extension("image");
        fs::create_dir_all(at)?;
        File::create(&image)?.set_len(mebibytes * MIB)?;
        Program::new("mkfs.ext4", Path::new("/dev/null")).args(["-q", "-F", "-m", "0"]).arg(&image).run()?;
        Mount::new(at, &["-t", "ext4", "-o", "loop", &image.display().to_string()])
    }

    /// An ext4 on a loop device over a sparse file, which lies on a smaller tmpfs. What ext4 takes for space on its disk
    /// is not there once the tmpfs is full: then write-back and fsync fail with EIO, as on a dying disk.
    pub fn thin_ext4(&self, at: &Path, mebibytes: u64) -> anyhow::Result<ThinDisk> {
        let host = self.tmpfs(&at.join("host"), mebibytes)?;
        let image = host.path.join("image");
        File::create(&image)?.set_len(4 * mebibytes * MIB)?;
        // The journal and the tables are written now, so that only data can fail for want of space.
        let extended = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        Program::new("mkfs.ext4", Path::new("/dev/null"))
            .args(["-q", "-F", "-m", "0", "-J", "size=4", "-E", extended])
            .arg(&image)
            .run()?;
        let mut disk = ThinDisk { fs: None, at: at.join("fs"), host };
        disk.attach()?;
        Ok(disk)
    }
}

/// A mounted file system; dropping it unmounts it.
#[derive(Debug)]
pub struct Mount {
    pub path: PathBuf,
}

impl Mount {
    fn new(at: &Path, how: &[&str]) -> anyhow::Result<Self> {
        fs::create_dir_all(at)?;
        Program::new("mount", Path::new("/dev/null")).args(how).arg(at).limit(Duration::from_secs(20)).run()?;
        Ok(Mount { path: at.to_owned() })
    }

    /// Its block device as `MAJOR:MINOR`.
    pub fn device(&self) -> anyhow::Result<String> {
        let found = Program::new("findmnt", Path::new("/dev/null")).args(["-no", "MAJ:MIN"]).arg(&self.path).run()?;
        Ok(String::from_utf8_lossy(&found.stdout).trim().to_owned())
    }

    pub fn remount(&self, how: &str) -> anyhow::Result<()> {
        let options = format!("remount,{how}");
        Program::new("mount", Path::new("/dev/null")).args(["-o", &options]).arg(&self.path).run().map(drop)
    }

    fn unmount(&self, how: &[&str]) -> anyhow::Result<()> {
        Program::new("umount", Path::new("/dev/null")).args(how).arg(&self.path).run().map(drop)
    }

    /// Writes a file until not one more byte fits.
    pub fn fill(&self) -> anyhow::Result<PathBuf> {
        let path = self.path.join("filler");
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
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.unmount(&[]).is_err() {
            let _ = self.unmount(&["--lazy"]);
        }
    }
}

/// See [`Mounts::thin_ext4`]. The file system goes before the memory that it lies on.
#[derive(Debug)]
pub struct ThinDisk {
    fs: Option<Mount>,
    at: PathBuf,
    host: Mount,
}

impl ThinDisk {
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Mounts the file system; it replays its journal, as after a power cut.
    pub fn attach(&mut self) -> anyhow::Result<()> {
        let image = self.host.path.join("image").display().to_string();
        self.fs = Some(Mount::new(&self.at, &["-t", "ext4", "-o", "loop,errors=remount-ro,nodiscard", &image])?);
        Ok(())
    }

    /// Unmounts it; what cannot be written by then is lost.
    pub fn detach(&mut self) {
        self.fs = None;
    }

    /// Lets `e2fsck` mend what an error left, then mounts it.
    pub fn repair_and_attach(&mut self) -> anyhow::Result<()> {
        let checked = Program::new("e2fsck", Path::new("/dev/null"))
            .args(["-f", "-y"])
            .arg(self.host.path.join("image"))
            .run_any()?;
        // 1: errors were corrected.
        ensure!(matches!(checked.status.code(), Some(0 | 1)), "e2fsck ended with {}", checked.status);
        self.attach()
    }

    /// From here on nothing can be written that takes new space below.
    pub fn starve(&self) -> anyhow::Result<()> {
        self.host.fill().map(drop)
    }

    pub fn feed(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.host.path.join("filler"))?)
    }

    /// Lets ext4 meet an error of its own, on which it turns read-only.
    pub fn turn_read_only(&self) -> anyhow::Result<()> {
        let source = Program::new("findmnt", Path::new("/dev/null")).args(["-no", "SOURCE"]).arg(&self.at).run()?;
        let device = String::from_utf8_lossy(&source.stdout).trim().trim_start_matches("/dev/").to_owned();
        let trigger = PathBuf::from(format!("/sys/fs/ext4/{device}/trigger_fs_error"));
        fs::write(&trigger, "on purpose").with_context(|| format!("write {}", trigger.display()))?;
        ensure!(File::create(self.at.join("probe")).is_err(), "ext4 is still writable after its error");
        Ok(())
    }
}
