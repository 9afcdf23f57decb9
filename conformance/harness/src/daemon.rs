//! Daemons of one round: started with their own roots, waited for, and stopped with the round.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A running daemon. Dropping it stops the process.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` in a process group of its own, appends its output to `log`, and waits until `ready`.
    pub fn start(mut command: Command, log: &Path, ready: impl Fn() -> bool) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        let mut daemon = Daemon { name, child, log: log.to_owned() };
        let deadline = Instant::now() + Duration::from_mins(1);
        while !ready() {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("{} ended with {status}; see {}", daemon.name, daemon.log.display());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after a minute; see {}", daemon.name, daemon.log.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(daemon)
    }

    fn signal(&self, signal: i32, whole_group: bool) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            #[expect(unsafe_code, reason = "std can send SIGKILL to one process only")]
            // SAFETY: the pid is that of our own child, which was not waited for yet and leads its own group.
            unsafe {
                libc::kill(if whole_group { -pid } else { pid }, signal);
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGTERM first: a daemon then unmounts and ends its own helpers.
        self.signal(libc::SIGTERM, false);
        let deadline = Instant::now() + Duration::from_secs(20);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                self.signal(libc::SIGKILL, true);
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
