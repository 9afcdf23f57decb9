//! `kill -9` at random moments under pushes, deletes and collections: what was acknowledged is there.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use harness::operate::operate_as;
use harness::report::Report;
use harness::scale::Scale;
use harness::server::{Server, ServerOptions};

use crate::crowd::{Crowd, rounds};
use crate::files;

/// How many clients push at once.
const CLIENTS: u32 = 6;

/// How long a server lives.
const LIVES: Range<Duration> = Duration::ZERO..Duration::from_millis(900);

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
    let mut crowd = Crowd::new(CLIENTS, seed);
    let options =
        ServerOptions::new(&args.binary, work.path())?.env("SKYBERTH_GC_GRACE", "1s").env("SKYBERTH_GC_INTERVAL", "1s");
    let mut report = Report::new("crash");
    let count = args.rounds.unwrap_or(scale.pick(5, 30, 200));
    let last = rounds(&mut report, "round", count, || options.start(), |_, server| round(server, &mut crowd));
    if let Some(server) = last {
        let options = server.kill()?.env("SKYBERTH_GC_GRACE", "0s");
        report.case("nothing is left over after a collection without grace", || leftovers(&options, &mut crowd));
    }
    if report.failed() > 0 && folder.is_some() {
        println!("the data stays in {}", work.keep().display());
    }
    report.finish(folder)
}

/// One life of the server, then a kill, a start and a check of every promise.
fn round(server: Server, crowd: &mut Crowd) -> anyhow::Result<(Server, String)> {
    let (before, life) = (crowd.count(), crowd.life(LIVES));
    let collects = crowd.random.chance(40);
    let options = server.options.clone();
    let options = crowd.work(server, life, || {
        // Its end may be cut by the kill; only what it leaves counts.
        let _ = collects.then(|| operate_as(&options, "gc"));
        Ok(())
    })?;
    let server = options.start().context("after the kill")?;
    crowd.verify(&server.target(), false)?;
    let after = crowd.count();
    let summary = format!("killed after {life:.0?}, {} pushes, {} deletes", after.0 - before.0, after.1 - before.1);
    Ok((server, summary))
}

fn leftovers(options: &ServerOptions, crowd: &mut Crowd) -> anyhow::Result<()> {
    let server = options.start()?;
    operate_as(options, "gc")?.sound()?;
    crowd.verify(&server.target(), true)?;
    let repos: Vec<String> = crowd.pushers.iter().map(|pusher| pusher.repo.clone()).collect();
    let held = files::every_file_is_held(&options.data, &server.target(), &repos)?;
    let open = files::every_upload_is_open(&options.data, &server.target(), &repos)?;
    println!("{held} content files, all held; {open} uploads, all open");
    Ok(())
}
