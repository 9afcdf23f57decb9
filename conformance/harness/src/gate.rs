//! Shared by all gates: options and cases of a gate, figures for the log, waiting.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::jobs;
use crate::report::Report;

/// Options of a gate.
#[derive(Clone, Debug, clap::Args)]
pub struct GateArgs {
    /// The `skyberth` binary. Each case starts it with its own settings and data directory.
    #[arg(long)]
    pub binary: PathBuf,
    /// Run only cases whose names contain this text.
    #[arg(long)]
    pub only: Option<String>,
}

impl GateArgs {
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    /// Runs a case if it is selected. With [`crate::expect::NotHere`] the case cannot be provoked on this machine.
    pub fn case(&self, report: &mut Report, name: &str, run: impl FnOnce() -> anyhow::Result<()>) {
        if !self.wants(name) {
            return;
        }
        report.case(name, run);
    }
}

/// Prints a figure found by a case, with the case's name if others run beside it.
pub fn note(text: &str) {
    match jobs::case() {
        case if case.is_empty() => println!("      {text}"),
        case => println!("      {case}: {text}"),
    }
}

/// The entries of `all` with these names; all entries if no name is given. Fails on an unknown name.
pub fn named<'a, T>(
    all: &'a [T],
    kind: &str,
    name_of: impl Fn(&T) -> &str,
    names: &[String],
) -> anyhow::Result<Vec<&'a T>> {
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|one| name_of(one) != name.as_str())) {
        let known: Vec<&str> = all.iter().map(&name_of).collect();
        bail!("no {kind} {unknown}; known are {}", known.join(", "));
    }
    Ok(all.iter().filter(|one| names.is_empty() || names.iter().any(|name| name == name_of(one))).collect())
}

/// Calls `ask` until it returns true; `false` at the limit.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nothing_has_is_an_error() {
        let only = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            named(&["1", "91", "91"], "row", |name| name, &names).map(|found| found.len())
        };
        assert_eq!((only(&[]).unwrap(), only(&["91"]).unwrap(), only(&["91", "1"]).unwrap()), (3, 2, 3));
        let error = only(&["1", "999"]).unwrap_err().to_string();
        assert!(error.contains("no row 999"), "{error}");
    }
}
