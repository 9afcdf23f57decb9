//! Power loss: a recorded run of the server is cut at any system call, and the server started on what a disk may hold.
//!
//! The model: a completed fsync or fdatasync of a file makes durable what was done to it before the sync began; one of a
//! folder makes names in it durable. All else may survive or not: each 512-byte sector of a write for itself, with or
//! without the new length, renames wholly or not at all. `sync_file_range` promises nothing.

mod check;
mod disk;
mod fate;
mod file;
mod lives;
mod promise;
mod recording;
mod replay;
mod trace;
mod uploading;
mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::gates::seeded::Random;
use crate::report::{Outcome, Report};
use crate::scale::Scale;
use fate::Fate;
use promise::Cut;
use recording::Recording;
use replay::{Answered, Replay, Syncs};
use trace::Step;

/// The mark of the index tells the boot of the machine; after a power cut it is another one.
const MARK: &str = "data/index/mark";
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// A recording is made again if the kill hit it in a call that strace cannot tell the outcome of.
const ATTEMPTS: usize = 3;
/// Steps of one client in each of the two phases of a recording.
const STEPS: usize = 16;
/// So many first steps are cut at more often: a node that is being made.
const FIRST_STEPS: usize = 300;

/// Cuts the power at any system call of recorded runs.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The `skyberth` binary.
    #[arg(long)]
    binary: PathBuf,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many states; the scale says how many if this does not.
    #[arg(long)]
    states: Option<usize>,
    /// Takes some syncs for not done, to show that the gate notices.
    #[arg(long, value_enum, default_value_t = Syncs::All, hide = true)]
    pretend: Syncs,
}

/// Runs the gate.
pub fn run(args: &Args, scale: Scale, folder: Option<&Path>) -> anyhow::Result<()> {
    let binary = args.binary.canonicalize().with_context(|| args.binary.display().to_string())?;
    let states = args.states.unwrap_or(scale.pick(20, 60, 2_000));
    let recordings = scale.pick(1, 3, 20).min(states);
    let mut report = Report::new("power-loss");
    for number in 0..recordings {
        let seed = args.seed * 1000 + number as u64;
        let share = states / recordings + usize::from(number < states % recordings);
        let work = tempfile::tempdir()?;
        let started = Instant::now();
        match Gate::record(&binary, work.path(), seed) {
            Ok(gate) => {
                report.add(format!("recording {seed}: {}", gate.summary()), Outcome::Pass, started.elapsed());
                gate.cut(&mut report, share, args.pretend, folder)?;
            }
            Err(error) => {
                report.add(format!("recording {seed}"), Outcome::Fail(format!("{error:#}")), started.elapsed());
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
    fn record(binary: &Path, work: &Path, seed: u64) -> anyhow::Result<Self> {
        for attempt in 0.. {
            let folder = work.join(attempt.to_string());
            std::fs::create_dir_all(&folder)?;
            let recording = recording::record(binary, &folder, seed + 1_000_000 * attempt as u64, STEPS)?;
            let mut replay = start(&recording, Syncs::All);
            replay.advance(recording.trace.steps.len())?;
            match replay.disk.compare(&recording.root, &["admin.sock"]) {
                Ok(files) => {
                    let answers = replay.answers;
                    return Ok(Gate { binary: binary.to_owned(), seed, recording, answers, files });
                }
                Err(error) if attempt + 1 == ATTEMPTS => return Err(error.context("the replay is not what happened")),
                Err(error) => println!("recorded again: {error:#}"),
            }
        }
        unreachable!("the last attempt returns")
    }

    fn summary(&self) -> String {
        let steps = self.recording.trace.steps.len();
        format!("{steps} steps, {} answers, {} files as replayed", self.answers.len(), self.files)
    }

    /// Cuts at seeded steps, in their order.
    fn cut(&self, report: &mut Report, states: usize, syncs: Syncs, folder: Option<&Path>) -> anyhow::Result<()> {
        let mut random = Random::new(self.seed);
        let steps = self.points();
        let mut points: Vec<usize> = (0..states).map(|_| point(&mut random, &steps)).collect();
        points.sort_unstable();
        let mut replay = start(&self.recording, syncs);
        for step in points {
            let fate = Fate::random(&mut random);
            replay.advance(step)?;
            let started = Instant::now();
            let work = tempfile::tempdir()?;
            let name = format!("recording {}, cut at step {step}, {:?}", self.seed, fate.style());
            match self.check(&replay, &fate, work.path()) {
                Ok(kept) => {
                    let check::Kept { acknowledged, things, sessions } = kept;
                    let name =
                        format!("{name}: {acknowledged} acknowledged changes, {things} asked, {sessions} uploads");
                    report.add(name, Outcome::Pass, started.elapsed());
                }
                Err(error) => {
                    let kept = keep(&replay, &fate, folder, &format!("power-loss-{}-{step}", self.seed))?;
                    report.add(name, Outcome::Fail(format!("{error:#}; {kept}")), started.elapsed());
                }
            }
        }
        Ok(())
    }

    fn check(&self, replay: &Replay<'_>, fate: &Fate, work: &Path) -> anyhow::Result<check::Kept> {
        replay.disk.survive(fate, work)?;
        another_boot(work)?;
        let cut = Cut { answers: &self.answers, step: replay.at };
        check::check(&self.binary, work, &self.recording.promises, &cut)
    }

    fn points(&self) -> Points {
        let mut names = Vec::new();
        for (at, step) in self.recording.trace.steps.iter().enumerate() {
            if let Step::End(number) = step
                && !matches!(self.recording.trace.calls[*number].name.as_str(), "close" | "fcntl" | "write" | "lseek")
            {
                names.push(at + 1);
            }
        }
        let answers = self.answers.values().map(|answered| answered.done).collect();
        Points { all: self.recording.trace.steps.len(), calls: names, answers }
    }
}

/// Where a cut tells most.
struct Points {
    all: usize,
    calls: Vec<usize>,
    answers: Vec<usize>,
}

fn point(random: &mut Random, points: &Points) -> usize {
    let near = match random.below(20) {
        0 => random.below(FIRST_STEPS),
        1..=4 => random.below(points.all + 1),
        5..=9 => *random.pick(&points.calls),
        _ => *random.pick(&points.answers) + random.below(3),
    };
    near.min(points.all)
}

fn start(recording: &Recording, syncs: Syncs) -> Replay<'_> {
    let mut replay = Replay::new(&recording.trace, &recording.root, syncs);
    replay.given_folder("data");
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

/// Makes the state again for whoever looks into it: the check has changed its own.
fn keep(replay: &Replay<'_>, fate: &Fate, folder: Option<&Path>, name: &str) -> anyhow::Result<String> {
    let Some(folder) = folder else { return Ok("give --report to keep the state".to_owned()) };
    let target = folder.join(name);
    if target.exists() {
        std::fs::remove_dir_all(&target)?;
    }
    replay.disk.survive(fate, &target)?;
    another_boot(&target)?;
    Ok(format!("the state is in {}", target.display()))
}
