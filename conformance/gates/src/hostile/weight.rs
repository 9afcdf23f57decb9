//! The memory that a server takes under attack.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use harness::server::Server;

pub const MIB: u64 = 1 << 20;

/// Most anonymous and socket memory of a server with default settings.
pub const LIMIT: u64 = 256 * MIB;

/// Most of it for a server with an attached portal.
pub const LIMIT_WITH_PORTAL: u64 = 384 * MIB;

/// Anonymous memory of the process, and bytes in the queues of the sockets of these ports.
fn weigh(server: &Server, ports: &[u16]) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).context("the server is gone")?;
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: u64 = anonymous.and_then(|text| text.split_whitespace().next()?.parse().ok()).context("no RssAnon")?;
    let ports: Vec<String> = ports.iter().map(|port| format!(":{port:04X}")).collect();
    let sockets = fs::read_to_string("/proc/net/tcp").context("list the sockets")?;
    let queues = sockets.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let address = words.next()?;
        let ours = ports.iter().any(|port| address.ends_with(port));
        let (sent, received) = words.nth(2)?.split_once(':')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        ours.then_some(number(sent)? + number(received)?)
    });
    Ok((kib << 10) + queues.sum::<u64>())
}

/// Runs an attack, and fails if the server takes too much memory meanwhile.
pub fn bounded<T>(server: &Server, attack: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    bounded_by(LIMIT, server, &[server.target().port], attack)
}

/// As [`bounded`], with this limit, for a server with these ports.
pub fn bounded_by<T>(
    limit: u64,
    server: &Server,
    ports: &[u16],
    attack: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let over = AtomicBool::new(false);
    let (result, peak) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = weigh(server, ports)?.max(peak);
                std::thread::sleep(Duration::from_millis(20));
            }
            anyhow::Ok(peak)
        });
        let attacked = attack();
        over.store(true, Ordering::Relaxed);
        let peak = sampler.join().map_err(|_| anyhow!("the sampler died"))?;
        anyhow::Ok((attacked?, peak?))
    })?;
    harness::gate::note(&format!("at most {} MiB", peak / MIB));
    ensure!(peak <= limit, "the server takes {} MiB, more than {} MiB", peak / MIB, limit / MIB);
    Ok(result)
}
