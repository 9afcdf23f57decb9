//! What the gates share: the options and cases of a gate, figures for the log, waiting.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::jobs;
use crate::report::Report;

/// What a gate judges.
#[derive(Clone, Debug, clap::Args)]
pub struct GateArgs {
    /// The `skyberth` binary; it is started with settings and a data directory of each case's own.
    #[arg(long)]
    pub binary: PathBuf,
    /// Only the cases whose names hold this text.
    #[arg(long)]
    pub only: Option<String>,
}

impl GateArgs {
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    /// Runs a case if it is wanted; [`crate::expect::NotHere`] says why it cannot be provoked on this machine.
    pub fn case(&self, report: &mut Report, name: &str, run: impl FnOnce() -> anyhow::Result<()>) {
        if !self.wants(name) {
            return;
        }
        report.case(name, run);
    }
}

/// A figure that a case found, for the log; with the case's name if others run beside it.
pub fn note(text: &str) {
    match jobs::case() {
        case if case.is_empty() => println!("      {text}"),
        case => println!("      {case}: {text}"),
    }
}

/// Asks until the answer is yes; `false` at the limit.
pub fn wait_until(limit: Duration, mut ask: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if ask() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
