//! `kill -9` of the registry and of portals at random moments of pushes, deletes, placement, eviction and unpin.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::gate::note;
use harness::report::{Outcome, Report};
use harness::server::Server;
use harness::{local, status};

use super::stack::{Portal, Stack};
use super::{Args, patience, tus};
use crate::case::Bench;
use crate::crowd::{Crowd, rounds};

/// So small that eviction is always due.
pub const CACHE: &str = "8MiB";

pub const NAME: &str = "crash rounds";

/// Number of clients that push at once.
pub const CLIENTS: u32 = 3;
/// How long a registry runs: long enough for placement, read-back and eviction to begin.
pub const LIVES: Range<Duration> = Duration::from_millis(100)..Duration::from_millis(3100);

struct Rounds {
    stack: Stack,
    crowd: Crowd,
}

pub fn run(args: &Args, report: &mut Report, bench: &Bench) {
    let count = args.rounds.unwrap_or(bench.scale.pick(3, 10, 100));
    let mut rounds_of = match Rounds::new(bench) {
        Ok(rounds) => rounds,
        Err(error) => return report.add(NAME, Outcome::Fail(format!("{error:#}")), Duration::ZERO),
    };
    let first = rounds_of.stack.start();
    let Some(server) = rounds(report, NAME, count, || first, |_, server| rounds_of.round(server)) else { return };
    report.case(format!("{NAME}: all of it is there, evicted and cold"), || rounds_of.end(server, bench));
    report.case(format!("{NAME}: no upload went back"), || rounds_of.uploads());
}

impl Rounds {
    fn new(bench: &Bench) -> anyhow::Result<Self> {
        let stack = Stack::new(bench, 2)?.with(&[
            ("SKYBERTH_STORAGE_CACHE_SIZE", CACHE),
            ("SKYBERTH_GC_GRACE", "1s"),
            ("SKYBERTH_GC_INTERVAL", "1s"),
        ]);
        Ok(Rounds { stack, crowd: Crowd::new(CLIENTS, bench.seed) })
    }

    /// One life of the registry, in some rounds with a kill of a portal; then a start, and a check of every promise.
    fn round(&mut self, server: Server) -> anyhow::Result<(Server, String)> {
        let before = self.crowd.count();
        let life = self.crowd.life(LIVES);
        let portals = &mut self.stack.portals;
        let random = &mut self.crowd.random;
        let portal = random.chance(50).then(|| random.below(portals.len()));
        let after = life.mul_f64(random.below(100) as f64 / 100.0);
        self.crowd.work(server, life, || portal.map_or(Ok(()), |number| interrupt(&mut portals[number], after)))?;
        let server = self.stack.start().context("after the kill")?;
        self.crowd.verify(&server.target(), false)?;
        let (pushes, deletes) = self.crowd.count();
        let here = local::content_bytes(&self.stack.options.data)? >> 20;
        let portal = portal.map_or(String::new(), |number| format!(", portal {number} after {after:.0?}"));
        let done = format!("{} pushes, {} deletes, {here} MiB here", pushes - before.0, deletes - before.1);
        Ok((server, format!("killed after {life:.0?}{portal}, {done}")))
    }

    fn end(&mut self, server: Server, bench: &Bench) -> anyhow::Result<()> {
        self.stack.settle(&server.target(), patience(bench))?;
        self.crowd.verify(&server.target(), true).context("placed, and evicted where the budget says so")?;
        note(&format!("{} bytes here at the end", local::content_bytes(&self.stack.options.data)?));
        let server = self.stack.make_cold(server)?;
        self.crowd.verify(&server.target(), true).context("cold")?;
        let failures = status::Metrics::of(&server.target())?.sum(&["read_back_failures"]);
        ensure!(failures < 1.0, "{failures} placements are recorded whose bytes are not there");
        Ok(())
    }

    fn uploads(&self) -> anyhow::Result<()> {
        let mut patches = 0;
        for portal in &self.stack.portals {
            let exchanges = portal.proxy.exchanges();
            patches += exchanges.iter().filter(|exchange| exchange.method == "PATCH").count();
            let back = tus::steps_back(&exchanges);
            ensure!(back.is_empty(), "{}: {}", back.len(), back.join("; "));
        }
        ensure!(patches > 0, "nothing was uploaded in parts");
        note(&format!("{patches} parts of uploads"));
        Ok(())
    }
}

/// Kills a portal after some time, and starts it again.
fn interrupt(portal: &mut Portal, after: Duration) -> anyhow::Result<()> {
    std::thread::sleep(after);
    portal.kill()?;
    std::thread::sleep(Duration::from_millis(300));
    portal.restart()
}
