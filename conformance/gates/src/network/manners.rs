//! How cold content is read: headers in time, no more than needed, once for all readers, and only while a reader wants
//! it.

use std::io::Read as _;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use harness::client::{Connection, Request, Response};
use harness::gate::{note, wait_until};
use harness::noise::{Comparison, Noise, noise};
use harness::proxy::Fault;
use harness::server::Server;
use harness::site::{Repo, Site, sha256};

use super::stack::{Mark, Stack};
use super::{MIB, UNIT, patience};
use crate::case::Bench;
use crate::streamed;

/// Longer than any client waits.
const NEVER: Duration = Duration::from_hours(1);
/// Most bytes of heads, metadata and lists of units.
const ALLOWANCE: u64 = 512 << 10;

/// A placed blob of noise without a local file.
struct Cold {
    stack: Stack,
    repo: Repo,
    noise: Noise,
    digest: String,
    length: u64,
    /// Runs as long as this value lives.
    server: Server,
}

impl Cold {
    fn new(bench: &Bench, name: &str, length: u64) -> anyhow::Result<Self> {
        Cold::at(bench, Stack::new(bench, 2)?, name, length)
    }

    fn at(bench: &Bench, stack: Stack, name: &str, length: u64) -> anyhow::Result<Self> {
        let server = stack.start()?;
        let repo = Site::new(server.target(), name).repo("a");
        streamed::put(&repo, name, length)?.expect(201)?;
        stack.settle(&repo.target, patience(bench))?;
        let noise = Noise::new(name, length);
        let digest = noise.clone().digest();
        let server = stack.make_evicted(server, &digest)?;
        Ok(Cold { stack, repo, noise, digest, length, server })
    }

    /// Requests it without reading the body yet.
    fn open(&self, range: Option<&str>) -> anyhow::Result<(Connection, Response)> {
        let mut connection = Connection::open(&self.repo.target)?;
        let mut request = Request::get(self.repo.blob(&self.digest));
        if let Some(range) = range {
            request = request.header("Range", range);
        }
        connection.write(&request)?;
        let (status, headers) = connection.read_head()?;
        let head = connection.response(status, headers);
        Ok((connection, head))
    }

    fn pull(&self) -> anyhow::Result<()> {
        let (mut connection, head) = self.open(None)?;
        head.expect(200)?;
        let mut comparison = Comparison::with(self.noise.clone());
        connection.copy_body(&head, &mut comparison)?;
        ensure!(comparison.is_complete(), "the pull ended early");
        Ok(())
    }

    /// The expected bytes of a part of it.
    fn part(&self, from: u64, length: u64) -> anyhow::Result<Vec<u8>> {
        let mut noise = self.noise.clone();
        std::io::copy(&mut (&mut noise).take(from), &mut std::io::sink())?;
        let mut bytes = Vec::new();
        noise.take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

pub fn headers(bench: &Bench) -> anyhow::Result<()> {
    let wait = Duration::from_secs(bench.scale.pick(5, 5, 20));
    let cold = Cold::new(bench, "headers", 9 * MIB as u64)?;
    let small = noise("small", 1000);
    cold.repo.push_blob(&small)?;
    cold.stack.settle(&cold.repo.target, patience(bench))?;
    let server = cold.stack.make_evicted(cold.server, &sha256(&small))?;
    let cold = Cold { server, ..cold };
    for (digest, length) in [(&cold.digest, cold.length), (&sha256(&small), 1000)] {
        let mut connection = Connection::open(&cold.repo.target)?;
        // A unit after metadata may take several of the portal's waits.
        connection.stream().set_read_timeout(Some(wait * 6))?;
        // With no portal sending any content, headers that wait for content would not come.
        cold.stack.set_all(&Fault::Slow(NEVER));
        let (before, mark) = (cold.stack.sent(), cold.stack.mark());
        let started = Instant::now();
        connection.write(&Request::get(cold.repo.blob(digest)))?;
        let (status, headers) = connection.read_head()?;
        let took = started.elapsed();
        let asked = cold.stack.since(&mark).iter().filter(|exchange| exchange.is_download()).count();
        ensure!(asked > 0, "{length} bytes: no portal was asked, so it was not cold");
        ensure!(cold.stack.sent() == before, "{length} bytes: portals sent content already");
        cold.stack.set_all(&Fault::Slow(wait));
        let head = connection.response(status, headers);
        head.expect(200).with_context(|| format!("{length} bytes"))?;
        let mut body = Vec::new();
        connection.copy_body(&head, &mut body)?;
        let whole = started.elapsed();
        note(&format!("{length} bytes: headers after {:.2} s, all of it after {:.2} s", secs(took), secs(whole)));
        ensure!(sha256(&body) == *digest, "{length} bytes came back changed");
        ensure!(whole >= wait, "the portal was not slow");
    }
    Ok(())
}

fn secs(time: Duration) -> f64 {
    time.as_secs_f64()
}

pub fn range(bench: &Bench) -> anyhow::Result<()> {
    let length = bench.scale.pick(64, 64, 1024) * MIB as u64;
    ranges(&Cold::new(bench, "range", length)?)
}

/// A range without local lists of unit roots. The portals have the roots in their base sectors.
pub fn range_without_lists(bench: &Bench) -> anyhow::Result<()> {
    without_lists(Cold::new(bench, "lists", 64 * MIB as u64)?)
}

/// A profile with two data pieces. Its sectors are not units, so no base sector contains the unit roots.
const SEVERAL: &str = "4MiB/2+1";

/// A range where only the registry's own lists have the roots, so that it must have placed these too.
pub fn range_without_lists_of_several_pieces(bench: &Bench) -> anyhow::Result<()> {
    let stack = Stack::of_profile(bench, 2, 2, SEVERAL)?;
    without_lists(Cold::at(bench, stack, "lists", 64 * MIB as u64)?)
}

fn without_lists(cold: Cold) -> anyhow::Result<()> {
    let server = cold.stack.make_cold(cold.server)?;
    ranges(&Cold { server, ..cold })
}

fn ranges(cold: &Cold) -> anyhow::Result<()> {
    let length = cold.length;
    // Ranges within a unit, across a border, at the end, at the beginning, and over several units. No two share a unit.
    let ranges = [
        (length / 2 + 1_000_000, 100_000),
        (5 * UNIT - 7, 14),
        (length - 1000, 1000),
        (0, 1),
        (length / 4 * 3 + 100, 2 * UNIT + 500),
    ];
    for (from, size) in ranges {
        let (before, mark) = (cold.stack.sent(), cold.stack.mark());
        let field = format!("bytes={from}-{}", from + size - 1);
        let (mut connection, head) = cold.open(Some(&field))?;
        head.expect(206).with_context(|| field.clone())?;
        let mut body = Vec::new();
        connection.copy_body(&head, &mut body)?;
        ensure!(body == cold.part(from, size)?, "{field} came back changed");
        // Any unneeded fetches would start within this time.
        std::thread::sleep(Duration::from_secs(1));
        let sent = cold.stack.sent() - before;
        note(&format!("{field}: {sent} bytes sent by the portals"));
        ensure!(sent >= size, "{field}: {sent} bytes were sent, so it was not cold");
        let most = most_for(size);
        ensure!(sent <= most, "{field}: {sent} bytes sent by the portals, {most} at most: {}", asked(cold, &mark));
    }
    Ok(())
}

/// The requests to the portals since a mark.
fn asked(cold: &Cold, mark: &Mark) -> String {
    let all = cold.stack.since(mark);
    let downloads = all.iter().filter(|exchange| exchange.is_download());
    let each = downloads.map(|one| format!("{} {}: {}", one.path, one.range.as_deref().unwrap_or("whole"), one.sent));
    each.collect::<Vec<_>>().join("; ")
}

/// A range with one unneeded unit at each end.
const fn most_for(size: u64) -> u64 {
    size + 2 * UNIT + ALLOWANCE
}

pub fn one_fetch(bench: &Bench) -> anyhow::Result<()> {
    const CLIENTS: usize = 16;
    let cold = Cold::new(bench, "clients", bench.scale.pick(32, 64, 256) * MIB as u64)?;
    // So slow that all of them arrive during the fetch.
    cold.stack.set_all(&Fault::Trickle(32 * MIB as u64));
    let (before, mark) = (cold.stack.sent(), cold.stack.mark());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| cold.pull())).collect();
        clients.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a client's thread died"))))
    })?;
    let sent = cold.stack.sent() - before;
    let requests = cold.stack.since(&mark).iter().filter(|exchange| exchange.is_download()).count();
    note(&format!("{CLIENTS} clients of {} bytes: {sent} bytes sent in {requests} answers", cold.length));
    ensure!(sent >= cold.length, "{sent} bytes were sent, so it was not cold");
    ensure!(sent <= cold.length + UNIT + ALLOWANCE, "{sent} bytes were sent for {}", cold.length);
    Ok(())
}

pub fn leaving(bench: &Bench) -> anyhow::Result<()> {
    let cold = Cold::new(bench, "leaving", 64 * MIB as u64)?;
    cold.stack.set_all(&Fault::Trickle(2 * MIB as u64));
    let (start, mark) = (cold.stack.sent(), cold.stack.mark());
    let (connection, head) = cold.open(None)?;
    head.expect(200)?;
    connection.stream().read_exact(&mut [0; 1000]).context("the beginning of the body")?;
    drop(connection);
    let under_way =
        || cold.stack.since(&mark).iter().filter(|exchange| exchange.is_download() && !exchange.over).count();
    let stopped = wait_until(patience(bench), || under_way() == 0);
    let sent = cold.stack.sent() - start;
    note(&format!("{sent} bytes sent until the fetch had stopped"));
    ensure!(stopped, "{} fetches go on for a client that has left", under_way());
    ensure!(sent < cold.length / 2, "{sent} of {} bytes were sent for a client that has left", cold.length);
    // Any unneeded requests would arrive within this time.
    std::thread::sleep(Duration::from_secs(1));
    ensure!(cold.stack.sent() - start == sent, "{} bytes were sent after that", cold.stack.sent() - start - sent);
    cold.stack.set_all(&Fault::None);
    cold.pull().context("another client afterwards")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unit_at_each_end_is_allowed_and_two_are_not() {
        let size = 100_000;
        // Two units for a range within one and at its border, and no third.
        assert!(2 * UNIT <= most_for(size));
        assert!(3 * UNIT > most_for(size));
    }
}
