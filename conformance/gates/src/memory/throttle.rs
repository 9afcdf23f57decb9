//! Limits the bytes per second that processes write to one disk, with a control group.

use std::fs;
use std::path::{Path, PathBuf};

use harness::expect::not_here;

/// A control group of our own. It must be dropped after its processes have ended.
#[derive(Debug)]
pub struct Throttle {
    group: PathBuf,
}

impl Throttle {
    /// Limits bytes per second to a block device, given as `MAJOR:MINOR`. Version 2 counts all write-back; version 1
    /// only what the process itself starts, as by a sync.
    pub fn new(device: &str, rate: u64) -> anyhow::Result<Self> {
        let mut tried = Vec::new();
        for (root, file, line) in [
            ("/sys/fs/cgroup", "io.max", format!("{device} wbps={rate}")),
            ("/sys/fs/cgroup/unified", "io.max", format!("{device} wbps={rate}")),
            ("/sys/fs/cgroup/blkio", "blkio.throttle.write_bps_device", format!("{device} {rate}")),
        ] {
            match Throttle::in_group(Path::new(root), file, &line) {
                Ok(throttle) => return Ok(throttle),
                Err(error) => tried.push(format!("{root}/{file}: {error:#}")),
            }
        }
        Err(not_here(&format!("no way to slow a disk down here; tried {}", tried.join("; "))))
    }

    fn in_group(root: &Path, file: &str, line: &str) -> anyhow::Result<Self> {
        if file == "io.max" {
            // No effect if it is enabled already; an error if the controller is missing.
            let control = root.join("cgroup.subtree_control");
            anyhow::ensure!(control.exists(), "not a version 2 hierarchy");
            fs::write(control, "+io")?;
        }
        let group = root.join(format!("conformance-{}", std::process::id()));
        fs::create_dir(&group)?;
        let throttle = Throttle { group };
        fs::write(throttle.group.join(file), line)?;
        Ok(throttle)
    }

    pub fn add(&self, pid: u32) -> anyhow::Result<()> {
        Ok(fs::write(self.group.join("cgroup.procs"), pid.to_string())?)
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        // A process that was just killed leaves the group a moment later.
        for _ in 0..100 {
            if fs::remove_dir(&self.group).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}
