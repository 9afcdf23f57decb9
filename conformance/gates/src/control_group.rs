//! A control group that limits what a process gets of the machine: bytes written to a disk, processor time, memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::expect::not_here;

/// A control group of our own. It must be dropped after its processes have ended.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
}

/// A limit in one hierarchy: its root, its file, and the line that sets it.
type Limit<'a> = (&'a str, &'a str, String);

impl Group {
    /// Limits bytes per second to a block device, given as `MAJOR:MINOR`. Version 2 counts all write-back; version 1
    /// only what the process itself starts, as by a sync.
    pub fn writing(device: &str, rate: u64) -> anyhow::Result<Self> {
        Group::first_of(&[
            ("/sys/fs/cgroup", "io.max", format!("{device} wbps={rate}")),
            ("/sys/fs/cgroup/unified", "io.max", format!("{device} wbps={rate}")),
            ("/sys/fs/cgroup/blkio", "blkio.throttle.write_bps_device", format!("{device} {rate}")),
        ])
    }

    /// Limits processor time to this many milliseconds of every 100.
    pub fn computing(milliseconds: u64) -> anyhow::Result<Self> {
        let quota = milliseconds * 1000;
        Group::first_of(&[
            ("/sys/fs/cgroup", "cpu.max", format!("{quota} 100000")),
            ("/sys/fs/cgroup/unified", "cpu.max", format!("{quota} 100000")),
            ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", quota.to_string()),
        ])
    }

    /// Limits memory, with the pages of files that the process reads and writes.
    pub fn remembering(bytes: u64) -> anyhow::Result<Self> {
        Group::first_of(&[
            ("/sys/fs/cgroup", "memory.max", bytes.to_string()),
            ("/sys/fs/cgroup/unified", "memory.max", bytes.to_string()),
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", bytes.to_string()),
        ])
    }

    fn first_of(limits: &[Limit]) -> anyhow::Result<Self> {
        let mut tried = Vec::new();
        for (root, file, line) in limits {
            match Group::in_hierarchy(Path::new(root), file, line) {
                Ok(group) => return Ok(group),
                Err(error) => tried.push(format!("{root}/{file}: {error:#}")),
            }
        }
        Err(not_here(&format!("no control group here; tried {}", tried.join("; "))))
    }

    fn in_hierarchy(root: &Path, file: &str, line: &str) -> anyhow::Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        if let Some((controller, "max")) = file.split_once('.') {
            // No effect if it is enabled already; an error if the controller is missing.
            let control = root.join("cgroup.subtree_control");
            anyhow::ensure!(control.exists(), "not a version 2 hierarchy");
            fs::write(control, format!("+{controller}"))?;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = root.join(format!("conformance-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        let group = Group { folder };
        fs::write(group.folder.join(file), line)?;
        Ok(group)
    }

    pub fn add(&self, pid: u32) -> anyhow::Result<()> {
        Ok(fs::write(self.folder.join("cgroup.procs"), pid.to_string())?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that was just killed leaves the group a moment later.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}
