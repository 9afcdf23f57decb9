//! The hostile gate: requests that no honest client sends are answered 4xx or cut, in time, and change nothing.

mod framing;
mod http2;
mod mutate;
mod mutations;
mod paths;
mod raw;
mod slow;
mod state;

use std::path::{Path, PathBuf};

use anyhow::Context;
use harness::gate::GateArgs;
use harness::jobs::{self, Job};
use harness::report::Report;
use harness::scale::Scale;
use harness::server::ServerOptions;

use state::Victim;

/// Cases at once: nearly all of their time they wait for a server's limits.
const WORKERS: usize = 4;

/// What a case is given.
#[derive(Debug)]
struct Bench<'a> {
    binary: &'a Path,
    folder: PathBuf,
    scale: Scale,
    seed: u64,
}

impl Bench<'_> {
    /// A server with short limits, and contents whose change would be seen.
    fn victim(&self, name: &str) -> anyhow::Result<Victim> {
        self.victim_with(name, "2s")
    }

    /// One that takes a head only in this time.
    fn victim_with(&self, name: &str, header_timeout: &str) -> anyhow::Result<Victim> {
        let options = ServerOptions::new(self.binary, &self.folder.join(name))?
            .env("SKYBERTH_SERVER_HEADER_TIMEOUT", header_timeout)
            .env("SKYBERTH_SERVER_IDLE_BODY_TIMEOUT", "2s")
            .env("SKYBERTH_SERVER_KEEP_ALIVE_TIMEOUT", "3s")
            .env("SKYBERTH_REGISTRY_MAX_UPLOADS", "100000");
        Victim::new(&options)
    }
}

type Case = (&'static str, fn(&Bench) -> anyhow::Result<()>);

/// The longest comes first.
const CASES: &[Case] = &[
    ("random mutations of valid requests", mutations::run),
    ("ambiguous framing never makes two requests of one", framing::ambiguous),
    ("malformed heads", framing::malformed),
    ("heads that are too large", framing::large),
    ("slow and silent senders", slow::senders),
    ("readers that do not read", slow::readers),
    ("path tricks", paths::tricks),
    ("absolute-form and other targets", paths::targets),
    ("a TLS hello", http2::tls_hello),
    ("HTTP/2 frames that make no sense", http2::garbage),
    ("HTTP/2 floods", http2::floods),
];

pub fn run(args: &GateArgs, scale: Scale, seed: u64, folder: Option<&Path>) -> anyhow::Result<()> {
    let binary = args.binary.canonicalize().with_context(|| format!("no binary at {}", args.binary.display()))?;
    let scratch = tempfile::tempdir()?;
    let mut report = Report::new("hostile");
    let all = CASES.iter().enumerate().filter(|(_, (name, _))| args.wants(name));
    let jobs = all.map(|(number, (name, check))| {
        let bench = Bench { binary: &binary, folder: scratch.path().join(number.to_string()), scale, seed };
        Ok(Job::plain(*name, move || check(&bench)))
    });
    jobs::run(&mut report, WORKERS, jobs)?;
    report.finish(folder)
}
