//! Power loss: a recorded run of the server is cut at any system call, and a server is started on what a disk may have
//! kept.
//!
//! The model: a completed fsync or fdatasync of a file makes the changes durable that were made before the sync began.
//! A sync of a directory makes its names durable. Everything else may survive or not: each 512-byte sector of a write
//! by itself, with or without the new length, and renames completely or not at all. `sync_file_range` promises nothing.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::return_self_not_must_use,
    clippy::should_implement_trait,
    reason = "for the programs beside it, not for others"
)]

mod aim;
mod bulk;
mod check;
mod disk;
mod fate;
mod file;
mod interrupted;
mod lives;
mod promise;
mod recording;
mod remains;
mod replay;
mod trace;
mod uploading;
mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, anyhow, ensure};
use harness::jobs::{self, Job};
use harness::random::Random;
use harness::report::{Outcome, Report};
use harness::scale::Scale;

use aim::{Aim, Points};
use fate::Fate;
use promise::Cut;
use recording::{Plan, Recording};
use replay::{Answered, Replay, Syncs};

/// The index's mark names the boot of the machine. After a power cut that is another one.
const MARK: &str = "data/index/mark";
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// A recording is repeated if strace missed an answer that a client has, as happens rarely when the process is killed.
const ATTEMPTS: usize = 3;
/// States checked at once.
const WORKERS: usize = 4;
/// Most failed states kept of one recording.
const KEPT: usize = 10;

/// Cuts the power at any system call of recorded runs.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The `skyberth` binary.
    #[arg(long)]
    binary: PathBuf,
    /// Number of states. By default the scale decides.
    #[arg(long)]
    states: Option<usize>,
    /// Ignore some syncs, to show that the gate notices.
    #[arg(long, value_enum, default_value_t = Syncs::All, hide = true)]
    pretend: Syncs,
}

/// Runs the gate.
pub fn run(args: &Args, scale: Scale, seed: u64, folder: Option<&Path>) -> anyhow::Result<()> {
    let binary = args.binary.canonicalize().with_context(|| args.binary.display().to_string())?;
    let states = args.states.unwrap_or(scale.pick(20, 60, 2_000));
    let mut report = Report::new("power-loss");
    for (number, batch) in aim::batches(scale, states).iter().enumerate() {
        let seed = seed * 1000 + number as u64;
        let work = tempfile::tempdir()?;
        let started = Instant::now();
        match Gate::record(&binary, work.path(), seed, batch.plan) {
            Ok(gate) => {
                let name = format!("recording {seed}, {}: {}", batch.name, gate.summary());
                report.add(name, Outcome::Pass, started.elapsed());
                gate.cut(&mut report, &batch.aims, args.pretend, folder)?;
            }
            Err(error) => {
                let name = format!("recording {seed}, {}", batch.name);
                report.add(name, Outcome::Fail(format!("{error:#}")), started.elapsed());
            }
        }
    }
    report.finish(folder)
}

struct Gate {
    binary: PathBuf,
    seed: u64,
    recording: Recording,
    answers: BTreeMap<String, Answered>,
    files: usize,
}

impl Gate {
    fn record(binary: &Path, work: &Path, seed: u64, plan: Plan) -> anyhow::Result<Self> {
        for attempt in 0.. {
            let folder = work.join(attempt.to_string());
            std::fs::create_dir_all(&folder)?;
            let mut recording = recording::record(binary, &folder, seed + 1_000_000 * attempt as u64, plan)?;
            ensure!(plan.bulk == 0 || aim::compacted(&recording.trace), "the journal did not compact");
            interrupted::settle(&mut recording)?;
            let mut replay = start(&recording, Syncs::All);
            let whole = replay.advance(recording.trace.steps.len()).and_then(|()| {
                let lacks = recording.promises.unrecorded(&replay.answers);
                lacks.map_or(Ok(()), |answer| Err(anyhow!("the recording lacks answer {answer}")))
            });
            match whole.and_then(|()| replay.disk.compare(&recording.root, &["admin.sock"])) {
                Ok(files) => {
                    let answers = replay.answers;
                    return Ok(Gate { binary: binary.to_owned(), seed, recording, answers, files });
                }
                Err(error) if attempt + 1 == ATTEMPTS => {
                    return Err(error.context("the replay differs from the recorded run"));
                }
                Err(error) => println!("recorded again: {error:#}"),
            }
        }
        unreachable!("the last attempt returns")
    }

    fn summary(&self) -> String {
        let steps = self.recording.trace.steps.len();
        format!("{steps} steps, {} answers, {} files as replayed", self.answers.len(), self.files)
    }

    /// Cuts at seeded steps, in order.
    fn cut(
        &self,
        report: &mut Report,
        aims: &[(Aim, usize)],
        syncs: Syncs,
        folder: Option<&Path>,
    ) -> anyhow::Result<()> {
        let mut random = Random::new(self.seed);
        let points = Points::of(&self.recording.trace, &self.answers).aimed(aims, &mut random);
        let mut replay = start(&self.recording, syncs);
        let failed = Mutex::new(Vec::new());
        let states = points.into_iter().map(|step| {
            let fate = Fate::random(&mut random);
            replay.advance(step)?;
            let work = tempfile::tempdir()?;
            replay.disk.survive(&fate, work.path())?;
            another_boot(work.path())?;
            let name = format!("recording {}, cut at step {step}, {:?}", self.seed, fate.style());
            let failed = &failed;
            Ok(Job::new(name, move || {
                let cut = Cut { answers: &self.answers, step };
                check::check(&self.binary, work.path(), &self.recording.promises, &cut)
                    .map(|kept| kept.to_string())
                    .inspect_err(|_| {
                        if let Ok(mut failed) = failed.lock() {
                            failed.push((step, fate));
                        }
                    })
            }))
        });
        jobs::run(report, WORKERS, states)?;
        let mut failed = failed.into_inner().unwrap_or_default();
        failed.sort_by_key(|(step, _)| *step);
        self.keep(&failed, syncs, folder)
    }

    /// Recreates failed states for inspection, since the checks have changed the originals.
    fn keep(&self, failed: &[(usize, Fate)], syncs: Syncs, folder: Option<&Path>) -> anyhow::Result<()> {
        let Some(folder) = folder else { return Ok(()) };
        let mut replay = start(&self.recording, syncs);
        for (step, fate) in failed.iter().take(KEPT) {
            replay.advance(*step)?;
            let target = folder.join(format!("power-loss-{}-{step}", self.seed));
            if target.exists() {
                std::fs::remove_dir_all(&target)?;
            }
            replay.disk.survive(fate, &target)?;
            another_boot(&target)?;
            println!("the state at step {step} is in {}", target.display());
        }
        Ok(())
    }
}

fn start(recording: &Recording, syncs: Syncs) -> Replay<'_> {
    let mut replay = Replay::new(&recording.trace, &recording.root, syncs);
    if recording.plan.given {
        replay.given_folder("data");
    }
    replay
}

fn another_boot(work: &Path) -> anyhow::Result<()> {
    let path = work.join(MARK);
    let Ok(mark) = std::fs::read_to_string(&path) else { return Ok(()) };
    let boot = std::fs::read_to_string(BOOT)?;
    let boot = boot.trim();
    ensure!(!boot.is_empty(), "{BOOT} is empty");
    let other: String = boot.chars().rev().collect();
    Ok(std::fs::write(path, mark.replace(boot, &other))?)
}
