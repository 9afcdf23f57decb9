//! `kill -9` at random moments of pushes, deletes and collections: acknowledged content must survive.

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

/// Number of clients that push at once.
const CLIENTS: u32 = 6;

/// How long a server runs before it is killed.
const LIVES: Range<Duration> = Duration::ZERO..Duration::from_millis(900);

/// Repeatedly kills the server in the middle of pushes, deletes and collections.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The `skyberth` binary.
    #[arg(long)]
    binary: PathBuf,
    /// Number of kills. By default the scale decides.
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

/// Runs one life of the server, then kills it, starts it again, and checks every promise.
fn round(server: Server, crowd: &mut Crowd) -> anyhow::Result<(Server, String)> {
    let (before, life) = (crowd.count(), crowd.life(LIVES));
    let collects = crowd.random.chance(40);
    let options = server.options.clone();
    let options = crowd.work(server, life, || {
        // The kill may cut it short. Only its effects on the data matter.
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
