//! The memory that a server takes under attack.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use harness::server::Server;

const MIB: u64 = 1 << 20;

/// Most anonymous and socket memory of a server with default settings.
const LIMIT: u64 = 256 * MIB;

/// Anonymous memory of the process, and bytes in the queues of its sockets.
fn weigh(server: &Server) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).context("the server is gone")?;
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: u64 = anonymous.and_then(|text| text.split_whitespace().next()?.parse().ok()).context("no RssAnon")?;
    let port = format!(":{:04X}", server.target().port);
    let sockets = fs::read_to_string("/proc/net/tcp").context("list the sockets")?;
    let queues = sockets.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let ours = words.next()?.ends_with(&port);
        let (sent, received) = words.nth(2)?.split_once(':')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        ours.then_some(number(sent)? + number(received)?)
    });
    Ok((kib << 10) + queues.sum::<u64>())
}

/// Runs an attack, and fails if the server takes too much memory meanwhile.
pub fn bounded<T>(server: &Server, attack: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let over = AtomicBool::new(false);
    let (result, peak) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = weigh(server)?.max(peak);
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
    ensure!(peak <= LIMIT, "the server takes {} MiB, more than {} MiB", peak / MIB, LIMIT / MIB);
    Ok(result)
}
