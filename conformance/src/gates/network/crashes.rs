//! `kill -9` of the registry and of portals at random moments of pushes, deletes, placement, eviction and unpin.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};

use super::stack::{Bench, Portal, Stack};
use super::{Args, local, patience, status, tus};
use crate::gates::note;
use crate::gates::pusher::Pusher;
use crate::random::Random;
use crate::report::{Outcome, Report};
use crate::server::Server;

/// How many clients push at once.
const CLIENTS: u32 = 3;
/// The longest life of a registry, in milliseconds: long enough for placement, read-back and eviction to begin.
const LONGEST_LIFE: u64 = 3000;
/// So that eviction is always due.
const CACHE: &str = "8MiB";

const NAME: &str = "crash rounds";

struct Rounds {
    stack: Stack,
    pushers: Vec<Pusher>,
    random: Random,
}

pub fn run(args: &Args, report: &mut Report, bench: &Bench) {
    if args.gate.only.as_ref().is_some_and(|only| !NAME.contains(only.as_str())) {
        return;
    }
    let count = args.rounds.unwrap_or(bench.scale.pick(3, 10, 100));
    let started = Instant::now();
    let begun = Rounds::new(bench, args.seed).and_then(|rounds| Ok((rounds.stack.start()?, rounds)));
    let (mut server, mut rounds) = match begun {
        Ok((server, rounds)) => (server, rounds),
        Err(error) => return report.add(NAME, Outcome::Fail(format!("{error:#}")), started.elapsed()),
    };
    for number in 0..count {
        let started = Instant::now();
        match rounds.round(server) {
            Ok((next, summary)) => {
                report.add(format!("{NAME}: {number}: {summary}"), Outcome::Pass, started.elapsed());
                server = next;
            }
            Err(error) => {
                let why = format!("{error:#}");
                return report.add(format!("{NAME}: {number}"), Outcome::Fail(why), started.elapsed());
            }
        }
    }
    report.case(format!("{NAME}: all of it is there, evicted and cold"), || rounds.end(server, bench));
    report.case(format!("{NAME}: no upload went back"), || rounds.uploads());
}

impl Rounds {
    fn new(bench: &Bench, seed: u64) -> anyhow::Result<Self> {
        let stack = Stack::new(bench, 2)?.with(&[
            ("SKYBERTH_STORAGE_CACHE_SIZE", CACHE),
            ("SKYBERTH_GC_GRACE", "1s"),
            ("SKYBERTH_GC_INTERVAL", "1s"),
        ]);
        let mut random = Random::new(seed);
        let repos: Vec<String> = (0..CLIENTS).map(|number| format!("crash/{number}")).collect();
        let pusher = |number: u32| {
            let own = &repos[number as usize];
            let others = repos.iter().filter(|name| *name != own).cloned().collect();
            Pusher::new(number, own.clone(), others, random.fork())
        };
        let pushers = (0..CLIENTS).map(pusher).collect();
        Ok(Rounds { stack, pushers, random })
    }

    /// One life of the registry, with the end of a portal in some, then a start and a check of every promise.
    fn round(&mut self, server: Server) -> anyhow::Result<(Server, String)> {
        let before = self.count();
        let life = Duration::from_millis(100 + self.random.next() % LONGEST_LIFE);
        let portal = self.random.chance(50).then(|| self.random.below(self.stack.portals.len()));
        let after = life.mul_f64(self.random.below(100) as f64 / 100.0);
        self.live(server, life, portal.map(|number| (number, after)))?;
        let server = self.stack.start().context("after the kill")?;
        self.verify(&server, false)?;
        let (pushes, deletes) = self.count();
        let here = local::content_bytes(&self.stack.options.data)? >> 20;
        let portal = portal.map_or(String::new(), |number| format!(", portal {number} after {after:.0?}"));
        let done = format!("{} pushes, {} deletes, {here} MiB here", pushes - before.0, deletes - before.1);
        Ok((server, format!("killed after {life:.0?}{portal}, {done}")))
    }

    fn live(&mut self, server: Server, life: Duration, portal: Option<(usize, Duration)>) -> anyhow::Result<()> {
        let dying = AtomicBool::new(false);
        let (target, pushers, portals) = (server.target(), &mut self.pushers, &mut self.stack.portals);
        std::thread::scope(|scope| {
            let workers: Vec<_> = pushers
                .iter_mut()
                .map(|pusher| {
                    let (target, dying) = (&target, &dying);
                    scope.spawn(move || pusher.work(target, &|| dying.load(Ordering::SeqCst)))
                })
                .collect();
            let killer = portal.map(|(number, after)| scope.spawn(move || interrupt(&mut portals[number], after)));
            std::thread::sleep(life);
            dying.store(true, Ordering::SeqCst);
            server.kill()?;
            for worker in workers.into_iter().chain(killer) {
                worker.join().map_err(|_| anyhow!("a client panicked"))??;
            }
            Ok(())
        })
    }

    fn verify(&mut self, server: &Server, all: bool) -> anyhow::Result<()> {
        let target = server.target();
        std::thread::scope(|scope| {
            let checks: Vec<_> =
                self.pushers.iter_mut().map(|pusher| scope.spawn(|| pusher.verify(&target, all))).collect();
            checks.into_iter().try_for_each(|check| check.join().map_err(|_| anyhow!("a client panicked"))?)
        })
    }

    fn count(&self) -> (u64, u64) {
        (self.pushers.iter().map(|p| p.pushes).sum(), self.pushers.iter().map(|p| p.deletes).sum())
    }

    fn end(&mut self, server: Server, bench: &Bench) -> anyhow::Result<()> {
        self.stack.settle(&server.target(), patience(bench))?;
        self.verify(&server, true).context("placed, and evicted where the budget says so")?;
        note(&format!("{} bytes here at the end", local::content_bytes(&self.stack.options.data)?));
        let server = self.stack.make_cold(server)?;
        self.verify(&server, true).context("cold")?;
        let failures = status::Metrics::of(&server.target())?.sum(&["read_back_failures"]);
        ensure!(failures < 1.0, "{failures} placements are recorded whose bytes are not there");
        Ok(())
    }

    fn uploads(&self) -> anyhow::Result<()> {
        let mut patches = 0;
        for portal in &self.stack.portals {
            let exchanges = portal.front.exchanges();
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
