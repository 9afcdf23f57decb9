//! The bench of each case, and the run of a gate's cases: several at a time, each with its own folder.

use std::path::{Path, PathBuf};

use anyhow::Context;
use harness::expect::not_here;
use harness::gate::{GateArgs, note};
use harness::jobs::{self, Job};
use harness::report::Report;
use harness::scale::Scale;
use harness::server::ServerOptions;
use tempfile::TempDir;

use crate::place::Mounts;

/// Options for what a gate runs besides the registry.
#[derive(Clone, Debug, clap::Args)]
pub struct OtherPrograms {
    /// The `conformance` binary; by default the one beside this program.
    #[arg(long)]
    judge: Option<PathBuf>,
    /// Directory of the Go clients and the official suite. Those of Debian come from the system.
    #[arg(long, default_value = "target/tools/bin")]
    pub tools: PathBuf,
}

impl OtherPrograms {
    /// The `conformance` binary.
    pub fn judge(&self) -> anyhow::Result<PathBuf> {
        match &self.judge {
            Some(judge) => Ok(judge.clone()),
            None => Ok(std::env::current_exe()?.with_file_name("conformance")),
        }
    }
}

/// The tools of a case.
#[derive(Debug)]
pub struct Bench<'a> {
    pub binary: &'a Path,
    /// Folder of this case's data.
    pub folder: PathBuf,
    pub scale: Scale,
    pub seed: u64,
    mounts: Result<&'a Mounts, &'a str>,
}

impl<'a> Bench<'a> {
    /// A bench for a case that needs neither mounts nor a seed.
    pub fn new(binary: &'a Path, folder: PathBuf, scale: Scale) -> Self {
        Bench { binary, folder, scale, seed: 0, mounts: Err("this gate mounts nothing") }
    }

    /// A bench with a folder of its own below this one.
    pub fn beside(&self, name: &str) -> anyhow::Result<Self> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(Bench { folder, ..*self })
    }

    /// A server with its data below the folder of the case.
    pub fn server(&self) -> anyhow::Result<ServerOptions> {
        ServerOptions::new(self.binary, &self.folder)
    }

    /// The mounts of this gate. Without them the case is not applicable.
    pub fn mounts(&self) -> anyhow::Result<&'a Mounts> {
        self.mounts.map_err(not_here)
    }
}

pub type Case = (&'static str, fn(&Bench) -> anyhow::Result<()>);

/// What the cases of a gate share.
#[derive(Debug)]
pub struct Scene {
    binary: PathBuf,
    scale: Scale,
    seed: u64,
    mounts: Result<Mounts, String>,
    keep: bool,
}

impl Scene {
    pub fn new(binary: &Path, scale: Scale, seed: u64) -> anyhow::Result<Self> {
        let binary = binary.canonicalize().with_context(|| format!("no binary at {}", binary.display()))?;
        Ok(Scene { binary, scale, seed, mounts: Err("this gate mounts nothing".to_owned()), keep: false })
    }

    /// Lets cases mount their own disks. Servers must be started by this thread, or by threads that it starts later.
    pub fn mounting(self) -> Self {
        let mounts = Mounts::private().map_err(|error| format!("mounting needs root: {error:#}"));
        Scene { mounts, ..self }
    }

    /// Keeps the data of failed cases.
    pub fn keeping(self, keep: bool) -> Self {
        Scene { keep, ..self }
    }

    /// Runs the selected cases, `workers` at a time, and finishes the report.
    pub fn run(
        &self,
        gate: &str,
        args: &GateArgs,
        workers: usize,
        cases: &'static [Case],
        folder: Option<&Path>,
    ) -> anyhow::Result<()> {
        let mut report = Report::new(gate);
        self.collect(&mut report, args, workers, cases)?;
        report.finish(folder)
    }

    /// Runs the selected cases, `workers` at a time.
    pub fn collect(
        &self,
        report: &mut Report,
        args: &GateArgs,
        workers: usize,
        cases: &'static [Case],
    ) -> anyhow::Result<()> {
        let wanted = cases.iter().filter(|(name, _)| args.wants(name));
        jobs::run(report, workers, wanted.map(|case| Ok(self.job(case))))
    }

    pub fn job(&self, (name, check): &'static Case) -> Job<'_> {
        self.job_of(name, check)
    }

    /// A case that is not in a table.
    pub fn job_of<'s>(&'s self, name: &str, check: impl FnOnce(&Bench) -> anyhow::Result<()> + Send + 's) -> Job<'s> {
        Job::plain(name, move || {
            let scratch = tempfile::tempdir()?;
            let bench = self.bench(&scratch)?;
            let result = check(&bench).inspect_err(|_| last_words(&bench));
            self.end(scratch, result.is_err());
            result
        })
    }

    /// Cases that report their own rows.
    pub fn rows(&self, report: &mut Report, work: impl FnOnce(&Bench, &mut Report)) {
        let failed = report.failed();
        let prepared = tempfile::tempdir().context("a folder for the data");
        match prepared.and_then(|scratch| Ok((self.bench(&scratch)?, scratch))) {
            Ok((bench, scratch)) => {
                work(&bench, report);
                self.end(scratch, report.failed() > failed);
            }
            Err(error) => report.case("a folder for the data", || Err(error)),
        }
    }

    fn bench(&self, scratch: &TempDir) -> anyhow::Result<Bench<'_>> {
        let folder = scratch.path().join("case");
        std::fs::create_dir_all(&folder)?;
        let mounts = self.mounts.as_ref().map_err(String::as_str);
        Ok(Bench { binary: &self.binary, folder, scale: self.scale, seed: self.seed, mounts })
    }

    /// Large content is removed as soon as its case is done, unless it failed and its data is wanted.
    fn end(&self, scratch: TempDir, failed: bool) {
        if self.keep && failed {
            note(&format!("the data is kept in {}", scratch.keep().display()));
        }
    }
}

/// Prints the end of the registry's log.
fn last_words(bench: &Bench) {
    for log in ["server.log", "registry/server.log"] {
        let log = std::fs::read_to_string(bench.folder.join(log)).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(6).collect();
        last.iter().rev().for_each(|line| note(line));
    }
}
