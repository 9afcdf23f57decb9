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
use harness::report::Report;
use harness::scale::Scale;
use harness::server::ServerOptions;

use state::Victim;

/// What a case is given.
#[derive(Debug)]
struct Bench<'a> {
    binary: &'a Path,
    folder: PathBuf,
    scale: Scale,
}

impl Bench<'_> {
    /// A server with short limits, and contents whose change would be seen.
    fn victim(&self, name: &str) -> anyhow::Result<Victim> {
        let options = ServerOptions::new(self.binary, &self.folder.join(name))?
            .env("SKYBERTH_SERVER_HEADER_TIMEOUT", "2s")
            .env("SKYBERTH_SERVER_IDLE_BODY_TIMEOUT", "2s")
            .env("SKYBERTH_SERVER_KEEP_ALIVE_TIMEOUT", "3s")
            .env("SKYBERTH_REGISTRY_MAX_UPLOADS", "100000");
        Victim::new(&options)
    }
}

type Case = (&'static str, fn(&Bench) -> anyhow::Result<()>);

const CASES: &[Case] = &[
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
    ("random mutations of valid requests", mutations::run),
];

pub fn run(args: &GateArgs, scale: Scale, folder: Option<&Path>) -> anyhow::Result<()> {
    let binary = args.binary.canonicalize().with_context(|| format!("no binary at {}", args.binary.display()))?;
    let scratch = tempfile::tempdir()?;
    let mut report = Report::new("hostile");
    for (number, (name, check)) in CASES.iter().enumerate() {
        let bench = Bench { binary: &binary, folder: scratch.path().join(number.to_string()), scale };
        args.case(&mut report, name, || check(&bench));
    }
    report.finish(folder)
}
