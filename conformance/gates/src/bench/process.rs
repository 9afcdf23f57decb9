//! CPU time and memory of a process and its children, from `/proc`.

use anyhow::Context;

/// The unit of times in `/proc/PID/stat`: `USER_HZ`, which is 100 on every supported architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// The needed fields of a line in `/proc/PID/stat` (proc(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    /// User and system time of all its threads, including ended ones, and of children that were waited for.
    ticks: u64,
}

/// Memory of a process tree, MiB.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    pub(super) now: f64,
    pub(super) peak: f64,
}

/// CPU seconds, user and system, of a process and its descendants.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    Ok(family(pid)?.iter().map(|stat| stat.ticks).sum::<u64>() as f64 / TICKS_PER_SECOND)
}

/// Resident memory of a process and its descendants. Shared pages count once for each.
pub(super) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let mut sum = Memory::default();
    for stat in family(pid)? {
        let status = std::fs::read_to_string(format!("/proc/{}/status", stat.pid))?;
        sum.now += kibibytes(&status, "VmRSS:")? / 1024.0;
        sum.peak += kibibytes(&status, "VmHWM:")? / 1024.0;
    }
    Ok(sum)
}

/// A process and all its descendants.
fn family(root: u32) -> anyhow::Result<Vec<Stat>> {
    let mut others: Vec<Stat> = std::fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        // A process that ended meanwhile is not ours, since ours are waited for by their parent.
        .filter_map(|pid| parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect();
    let position =
        others.iter().position(|stat| stat.pid == root).with_context(|| format!("process {root} is gone"))?;
    let mut family = vec![others.swap_remove(position)];
    let mut looked_at = 0;
    while let Some(parent) = family.get(looked_at).map(|stat| stat.pid) {
        looked_at += 1;
        while let Some(child) = others.iter().position(|stat| stat.parent == parent) {
            family.push(others.swap_remove(child));
        }
    }
    Ok(family)
}

fn parse(line: &str) -> Option<Stat> {
    // The name in parentheses may itself contain blanks and parentheses.
    let (pid, rest) = line.split_once(' ')?;
    let fields: Vec<&str> = rest.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // Fields 14 to 17: utime, stime, cutime, cstime; the third is the first after the name.
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Some(Stat { pid: pid.parse().ok()?, parent: fields.get(1)?.parse().ok()?, ticks })
}

fn kibibytes(status: &str, key: &str) -> anyhow::Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key} in status"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = "71 (a) b (c) S 70 71 71 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 9 0 55 1 2";
        assert_eq!(parse(line), Some(Stat { pid: 71, parent: 70, ticks: 124 }));
        assert_eq!(parse("71 (a"), None);
    }

    #[test]
    fn the_time_of_children_counts() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sh -c 'while :; do :; done' & wait"])
            .spawn()
            .expect("sh is everywhere");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let mut seen = 0.0;
        let mut child = None;
        while seen < 0.05 && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(50));
            seen = cpu_seconds(shell.id()).unwrap();
            child = family(shell.id()).unwrap().get(1).map(|stat| stat.pid);
        }
        let child = child.expect("the inner shell runs").to_string();
        std::process::Command::new("kill").arg(child).status().unwrap();
        shell.wait().unwrap();
        assert!(seen >= 0.05, "{seen}");
    }
}
