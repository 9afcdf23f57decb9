//! The resident memory of a process, as counted by Linux.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::MIB;

/// Resident bytes: the total at its peak, the process's own, and those of mapped files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resident {
    peak: u64,
    now: u64,
    anonymous: u64,
    file: u64,
}

impl Resident {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the server is gone")?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next()?.parse().ok());
            number.map(|kib: u64| kib << 10).with_context(|| format!("no {name} in /proc/{pid}/status"))
        };
        Ok(Resident {
            peak: field("VmHWM")?,
            now: field("VmRSS")?,
            anonymous: field("RssAnon")?,
            file: field("RssFile")?,
        })
    }
}

/// Observes a process from its idle state on.
#[derive(Debug)]
pub struct Watch {
    pid: u32,
    idle: Resident,
    stop: Arc<AtomicBool>,
    sampler: JoinHandle<Resident>,
}

impl Watch {
    /// Resets the peak to the current resident memory.
    pub fn start(pid: u32) -> anyhow::Result<Self> {
        // Wait until work after the start has settled.
        std::thread::sleep(Duration::from_millis(500));
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("reset the peak")?;
        Ok(Self::over(pid, Resident::of(pid)?))
    }

    /// Compares a process, from its start on, with another idle one.
    pub fn over(pid: u32, idle: Resident) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        // The kernel keeps only the peak of the total, so its parts are sampled.
        let sampler = std::thread::spawn(move || {
            let mut most = Resident::default();
            while !asked.load(Ordering::Relaxed) {
                if let Ok(found) = Resident::of(pid) {
                    most.anonymous = most.anonymous.max(found.anonymous);
                    most.file = most.file.max(found.file);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        Watch { pid, idle, stop, sampler }
    }

    pub fn finish(self) -> anyhow::Result<Growth> {
        self.stop.store(true, Ordering::Relaxed);
        let sampled = self.sampler.join().map_err(|_| anyhow!("the sampler died"))?;
        let end = Resident::of(self.pid)?;
        Ok(Growth { idle: self.idle, most: Resident { peak: end.peak, now: end.now, ..sampled } })
    }
}

/// Memory of a process above its idle state.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    idle: Resident,
    most: Resident,
}

impl Growth {
    /// The idle state.
    pub fn idle(&self) -> Resident {
        self.idle
    }

    /// Bytes between the idle state and the peak.
    pub fn total(&self) -> u64 {
        self.most.peak.saturating_sub(self.idle.now)
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / MIB as f64;
        write!(
            out,
            "peak +{:.1} MiB over idle {:.1} MiB; anonymous {:.1} to {:.1}, of files {:.1} to {:.1}",
            mib(self.total()),
            mib(self.idle.now),
            mib(self.idle.anonymous),
            mib(self.most.anonymous),
            mib(self.idle.file),
            mib(self.most.file)
        )
    }
}
