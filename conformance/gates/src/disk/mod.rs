//! The disk gate: a disk that is full, read-only, failing, foreign or taken never makes an acknowledged write wrong.

mod claims;
mod dying;
mod failing;
mod filled;
mod full;
mod image;

mod read_only;
mod resumed;

use std::path::{Path, PathBuf};

use anyhow::Context;
use harness::gate::GateArgs;
use harness::report::Report;
use harness::scale::Scale;
use harness::server::ServerOptions;

use super::place::Mounts;

/// What a case is given: the server's binary, a folder of its own, and the right to mount if there is one.
#[derive(Debug)]
struct Bench<'a> {
    binary: &'a Path,
    folder: PathBuf,
    mounts: &'a Result<Mounts, String>,
    scale: Scale,
}

impl Bench<'_> {
    /// A server with its data at `data` and its log outside of it.
    fn server(&self, data: &Path) -> anyhow::Result<ServerOptions> {
        let mut options = ServerOptions::new(self.binary, &self.folder)?;
        data.clone_into(&mut options.data);
        // Collection only when a case asks for it, and then of everything unreferenced.
        Ok(options.env("SKYBERTH_GC_INTERVAL", "0s").env("SKYBERTH_GC_GRACE", "0s"))
    }

    fn mounts(&self) -> anyhow::Result<&Mounts> {
        self.mounts.as_ref().map_err(|why| harness::expect::NotHere(why.clone()).into())
    }
}

type Case = (&'static str, fn(&Bench) -> anyhow::Result<()>);

const CASES: &[Case] = &[
    ("foreign directory is refused", claims::foreign),
    ("data directory in use is refused", claims::in_use),
    ("killed in a ranged upload, resumed", resumed::ranged),
    ("killed in a streamed upload, resumed", resumed::streamed),
    ("full by pushing, default reserve", full::default_reserve),
    ("full by pushing, small reserve", full::small_reserve),
    ("filled to the last byte by another process", filled::running),
    ("filled to the last byte, killed, started while full", filled::restarted),
    ("read-only at the first start is refused", read_only::fresh),
    ("read-only with data is refused", read_only::with_data),
    ("turned read-only while running", read_only::while_running),
    ("failing writes under blobs", failing::blobs),
    ("failing writes under the journal, the index elsewhere", failing::journal),
    ("dying while clients push", failing::under_load),
];

pub fn run(args: &GateArgs, scale: Scale, folder: Option<&Path>) -> anyhow::Result<()> {
    let binary = args.binary.canonicalize().with_context(|| format!("no binary at {}", args.binary.display()))?;
    let mounts = Mounts::private().map_err(|error| format!("mounting needs root: {error:#}"));
    let scratch = tempfile::tempdir()?;
    let mut report = Report::new("disk");
    for (number, (name, check)) in CASES.iter().enumerate() {
        let bench = Bench { binary: &binary, folder: scratch.path().join(number.to_string()), mounts: &mounts, scale };
        std::fs::create_dir_all(&bench.folder)?;
        args.case(&mut report, name, || {
            check(&bench).inspect_err(|_| {
                let log = std::fs::read_to_string(bench.folder.join("server.log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(6).collect();
                last.iter().rev().for_each(|line| harness::gate::note(line));
            })
        });
    }
    report.finish(folder)
}
