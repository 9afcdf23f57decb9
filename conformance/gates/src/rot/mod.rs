//! Rot: bits are flipped, and files are cut, swapped and lost. The outcome is stated, and never a wrong answer.

mod content;
pub mod damage;
mod fixture;
mod index;
mod journal;

use std::path::{Path, PathBuf};

use anyhow::Context;
use harness::jobs::{self, Job};
use harness::report::Report;
use harness::scale::Scale;

use fixture::Fixture;

/// Damaged copies checked at once.
const WORKERS: usize = 4;

/// Damages files of a stopped node.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The `skyberth` binary.
    #[arg(long)]
    binary: PathBuf,
    /// Number of bits of the index, and of the journal. By default the scale decides.
    #[arg(long)]
    flips: Option<usize>,
}

/// Runs the gate.
pub fn run(args: &Args, scale: Scale, seed: u64, folder: Option<&Path>) -> anyhow::Result<()> {
    let binary = args.binary.canonicalize().with_context(|| args.binary.display().to_string())?;
    let flips = args.flips.unwrap_or(scale.pick(10, 40, 200));
    let fixture = Fixture::make(&binary, "rot").context("a node to damage")?;
    let other = Fixture::make(&binary, "other").context("another node")?;
    println!("{} answers of a sound node", fixture.answers.len());
    let mut report = Report::new("rot");
    let unharmed = Job::plain("a copy of the node without damage answers as before", || fixture.copy()?.is_right());
    let mut all = vec![unharmed];
    all.extend(journal::jobs(&fixture, &other, flips, seed));
    all.extend(index::jobs(&fixture, &other, flips, seed + 1));
    all.extend(content::jobs(&fixture));
    jobs::run(&mut report, WORKERS, all.into_iter().map(Ok))?;
    report.finish(folder)
}
