//! `kill -9` at random moments under pushes, deletes and collections: what was acknowledged is there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use conformance::model::place::collect;
use harness::random::Random;
use harness::report::{Outcome, Report};
use harness::scale::Scale;
use harness::server::{Server, ServerOptions};

use crate::files;
use crate::life::until_killed;
use crate::pusher::Pusher;

/// How many clients push at once.
const CLIENTS: u32 = 6;

/// The longest life of a server, in microseconds.
const LONGEST_LIFE: u64 = 900_000;

/// Kills the server in the middle of pushes, deletes and collections, again and again.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The `skyberth` binary.
    #[arg(long)]
    binary: PathBuf,
    /// How many kills; the scale says how many if this does not.
    #[arg(long)]
    rounds: Option<usize>,
}

/// Runs the gate.
pub fn run(args: &Args, scale: Scale, seed: u64, folder: Option<&Path>) -> anyhow::Result<()> {
    let work = tempfile::tempdir()?;
    let mut random = Random::new(seed);
    let repos: Vec<String> = (0..CLIENTS).map(|i| format!("crash/{i}")).collect();
    let mut pushers: Vec<Pusher> = (0..CLIENTS)
        .map(|i| {
            let others = repos.iter().filter(|name| **name != repos[i as usize]).cloned().collect();
            Pusher::new(i, repos[i as usize].clone(), others, random.fork())
        })
        .collect();
    let options =
        ServerOptions::new(&args.binary, work.path())?.env("SKYBERTH_GC_GRACE", "1s").env("SKYBERTH_GC_INTERVAL", "1s");
    let mut report = Report::new("crash");
    let mut server = options.start()?;
    for number in 0..args.rounds.unwrap_or(scale.pick(5, 30, 200)) {
        let started = Instant::now();
        match round(server, &mut pushers, &mut random) {
            Ok((next, summary)) => {
                report.add(format!("round {number}: {summary}"), Outcome::Pass, started.elapsed());
                server = next;
            }
            Err(error) => {
                report.add(format!("round {number}"), Outcome::Fail(format!("{error:#}")), started.elapsed());
                keep(work, folder);
                return report.finish(folder);
            }
        }
    }
    let options = server.kill()?.env("SKYBERTH_GC_GRACE", "0s");
    report.case("nothing is left over after a collection without grace", || leftovers(&options, &mut pushers, &repos));
    if report.failed() > 0 {
        keep(work, folder);
    }
    report.finish(folder)
}

/// The data of a failed run stays for whoever looks into it.
fn keep(work: tempfile::TempDir, folder: Option<&Path>) {
    if folder.is_some() {
        println!("the data stays in {}", work.keep().display());
    }
}

/// One life of the server, then a kill, a start and a check of every promise.
fn round(server: Server, pushers: &mut [Pusher], random: &mut Random) -> anyhow::Result<(Server, String)> {
    let before: (u64, u64) = count(pushers);
    let life = Duration::from_micros(random.next() % LONGEST_LIFE);
    let collects = random.chance(40);
    let options = server.options.clone();
    let options = until_killed(server, pushers, life, || {
        // Its end may be cut by the kill; only what it leaves counts.
        let _ = collects.then(|| collect(&options));
        Ok(())
    })?;
    let server = options.start().context("after the kill")?;
    let target = server.target();
    std::thread::scope(|scope| {
        let checks: Vec<_> = pushers.iter_mut().map(|pusher| scope.spawn(|| pusher.verify(&target, false))).collect();
        checks.into_iter().try_for_each(|check| check.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })?;
    let after = count(pushers);
    let summary = format!("killed after {life:.0?}, {} pushes, {} deletes", after.0 - before.0, after.1 - before.1);
    Ok((server, summary))
}

fn count(pushers: &[Pusher]) -> (u64, u64) {
    (pushers.iter().map(|p| p.pushes).sum(), pushers.iter().map(|p| p.deletes).sum())
}

fn leftovers(options: &ServerOptions, pushers: &mut [Pusher], repos: &[String]) -> anyhow::Result<()> {
    let server = options.start()?;
    collect(options)?;
    for pusher in pushers {
        pusher.verify(&server.target(), true)?;
    }
    let held = files::every_file_is_held(&options.data, &server.target(), repos)?;
    let open = files::every_upload_is_open(&options.data, &server.target(), repos)?;
    println!("{held} content files, all held; {open} uploads, all open");
    Ok(())
}
