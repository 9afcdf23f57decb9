//! The model check: random operations, with each answer compared with the model.

mod answer;
pub mod content;
mod expected;
#[cfg(test)]
mod fake;
mod generate;
mod group;
mod judge;
mod op;
mod others;
pub mod place;
pub mod reading;
mod replay;
mod run;
mod script;
mod shrink;
mod state;
pub mod wire;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use harness::report::{Outcome, Report};
use harness::scale::Scale;
use harness::surroundings::SurroundingsArgs;
use harness::target::TargetArgs;

use place::Place;
use run::{Ending, Plan};
use script::Script;

/// Most operations on one registry before a fresh one is started.
const EPISODE: u64 = 20_000;

/// Compares a registry with the model, operation by operation.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The `skyberth` binary, which the check starts, kills and starts again.
    #[arg(long, conflicts_with = "url")]
    binary: Option<PathBuf>,
    /// A running registry, which is never killed.
    #[command(flatten)]
    target: TargetArgs,
    /// Number of operations. By default the scale decides.
    #[arg(long)]
    operations: Option<u64>,
    /// Number of clients at once, each in its own repositories.
    #[arg(long, default_value_t = 6)]
    clients: usize,
    /// Also kill the server, start it without its index, and collect.
    #[arg(long, conflicts_with = "url")]
    crashes: bool,
    /// Run this script, or all scripts in this directory, instead.
    #[arg(long)]
    script: Option<PathBuf>,
    #[command(flatten)]
    surroundings: SurroundingsArgs,
}

/// Runs the check.
pub fn run(args: &Args, scale: Scale, seed: u64, folder: Option<&Path>) -> anyhow::Result<()> {
    let work = tempfile::tempdir()?;
    let mut place = match (&args.binary, args.target.target()?) {
        (Some(binary), _) => Place::own(binary, work.path(), args.surroundings.start(binary, work.path())?),
        (None, Some(target)) => Place::url(target),
        (None, None) => anyhow::bail!("--binary or --url"),
    };
    let mut report = Report::new("model");
    match &args.script {
        Some(path) => scripts(&mut report, &mut place, path)?,
        None => episodes(&mut report, &mut place, args, scale, seed, folder)?,
    }
    report.finish(folder)
}

fn scripts(report: &mut Report, place: &mut Place, path: &Path) -> anyhow::Result<()> {
    let mut paths = vec![path.to_owned()];
    if path.is_dir() {
        paths = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
    }
    for path in paths {
        let script = Script::load(&path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        report.case(name, || match replay::replay(place, &script)? {
            None => Ok(()),
            Some(found) => {
                anyhow::bail!("step {}: {}: {}", found.step, found.disagreement.what, found.disagreement.why)
            }
        });
    }
    Ok(())
}

fn episodes(
    report: &mut Report,
    place: &mut Place,
    args: &Args,
    scale: Scale,
    seed: u64,
    folder: Option<&Path>,
) -> anyhow::Result<()> {
    let total = args.operations.unwrap_or(scale.pick(20_000, 40_000, 1_000_000));
    let mut left = total;
    for number in 0.. {
        if left == 0 {
            break;
        }
        let operations = left.min(EPISODE);
        left -= operations;
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(number);
        let plan = Plan { seed, operations, clients: args.clients.max(1), crashes: args.crashes };
        let started = Instant::now();
        match run::episode(place, &plan).with_context(|| format!("episode {number}, seed {seed}"))? {
            Ending::Agreed(tally) => {
                let name = format!(
                    "episode {number}: {} operations, {} requests, {} kills, {} collections, {} rebuilds",
                    tally.operations, tally.requests, tally.kills, tally.collections, tally.rebuilds
                );
                report.add(name, Outcome::Pass, started.elapsed());
            }
            Ending::Disagreed(script, disagreement) => {
                let name = format!("episode {number}");
                let why = explain(place, script, &disagreement, folder, &format!("model-{seed}.json"))?;
                report.add(name, Outcome::Fail(why), started.elapsed());
                break;
            }
        }
    }
    Ok(())
}

/// Shrinks, saves and prints a disagreement.
fn explain(
    place: &mut Place,
    script: Script,
    disagreement: &judge::Disagreement,
    folder: Option<&Path>,
    file: &str,
) -> anyhow::Result<String> {
    println!("disagreement after {} steps, shrinking: {}: {}", script.steps.len(), disagreement.what, disagreement.why);
    let (script, why) = match shrink::shrink(place, &script)? {
        Some(shrunk) => {
            let found = shrunk.found.disagreement;
            (shrunk.script, format!("{}: {}", found.what, found.why))
        }
        None => (script, format!("{}: {} (not seen again alone)", disagreement.what, disagreement.why)),
    };
    let script = Script { about: format!("{}: {why}", script.about), ..script };
    for step in script.steps.iter().rev().take(30).rev() {
        println!("  {}", serde_json::to_string(step)?);
    }
    // In a subdirectory, since the report directory itself has only reports.
    let path = folder.unwrap_or(Path::new(".")).join("scripts").join(file);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    script.save(&path)?;
    Ok(format!("{} steps, saved as {}: {why}", script.steps.len(), path.display()))
}
