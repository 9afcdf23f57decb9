//! The report of a check: one row per case, as text, JUnit and JSON.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::expect::NotHere;

/// The outcome of one case. A skipped case always has a reason.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase", tag = "outcome", content = "why")]
pub enum Outcome {
    Pass,
    Fail(String),
    /// Not as recommended. This does not count as a failure.
    Advice(String),
    /// Impossible to provoke here, with the reason.
    NotApplicable(String),
}

/// One case of a check.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    #[serde(flatten)]
    pub outcome: Outcome,
    pub seconds: f64,
}

/// All cases of one check, in the order of running.
#[derive(Debug, Serialize)]
pub struct Report {
    pub check: String,
    pub rows: Vec<Row>,
}

impl From<anyhow::Result<()>> for Outcome {
    /// The outcome of a result. [`NotHere`] is not a failure.
    fn from(result: anyhow::Result<()>) -> Self {
        match result {
            Ok(()) => Outcome::Pass,
            Err(error) => match error.downcast_ref::<NotHere>() {
                Some(NotHere(why)) => Outcome::NotApplicable(why.clone()),
                None => Outcome::Fail(format!("{error:#}")),
            },
        }
    }
}

impl Report {
    pub fn new(check: &str) -> Self {
        Report { check: check.to_owned(), rows: Vec::new() }
    }

    /// Adds a case and prints it at once, so that a hang shows where it happened.
    pub fn add(&mut self, name: impl Into<String>, outcome: Outcome, took: Duration) {
        let row = Row { name: name.into(), outcome, seconds: took.as_secs_f64() };
        println!("{}", line(&row));
        self.rows.push(row);
    }

    /// Runs a case. An error is its failure, or with [`NotHere`] the reason why it does not apply.
    pub fn case(&mut self, name: impl Into<String>, run: impl FnOnce() -> anyhow::Result<()>) {
        let started = std::time::Instant::now();
        let outcome = run().into();
        self.add(name, outcome, started.elapsed());
    }

    pub fn passed(&self) -> usize {
        self.rows.iter().filter(|row| row.outcome == Outcome::Pass).count()
    }

    pub fn failed(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row.outcome, Outcome::Fail(_))).count()
    }

    /// Prints the counts and writes the files. Fails if a case failed, or if none ran.
    pub fn finish(self, folder: Option<&Path>) -> anyhow::Result<()> {
        let (passed, failed) = (self.passed(), self.failed());
        let advice = self.rows.iter().filter(|row| matches!(row.outcome, Outcome::Advice(_))).count();
        let other = self.rows.len() - passed - failed - advice;
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder)?;
            let stem = folder.join(&self.check);
            std::fs::write(stem.with_extension("json"), serde_json::to_string_pretty(&self)?)?;
            std::fs::write(stem.with_extension("xml"), self.junit())?;
        }
        let advised = if advice > 0 { format!("{advice} not as recommended, ") } else { String::new() };
        println!("{}: {passed} passed, {failed} failed, {advised}{other} not applicable", self.check);
        anyhow::ensure!(failed == 0, "{failed} cases of {} failed", self.check);
        anyhow::ensure!(passed > 0, "no case of {} ran", self.check);
        Ok(())
    }

    fn junit(&self) -> String {
        let mut out = format!(
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\">\n",
            escape(&self.check),
            self.rows.len(),
            self.failed()
        );
        for row in &self.rows {
            let _ = write!(out, "  <testcase name=\"{}\" time=\"{:.3}\">", escape(&row.name), row.seconds);
            match &row.outcome {
                Outcome::Pass => {}
                Outcome::Fail(why) => {
                    let _ = write!(out, "<failure message=\"{}\"/>", escape(why));
                }
                Outcome::NotApplicable(why) | Outcome::Advice(why) => {
                    let _ = write!(out, "<skipped message=\"{}\"/>", escape(why));
                }
            }
            out.push_str("</testcase>\n");
        }
        out.push_str("</testsuite>\n");
        out
    }
}

fn line(row: &Row) -> String {
    match &row.outcome {
        Outcome::Pass => format!("pass  {} ({:.2} s)", row.name, row.seconds),
        Outcome::Fail(why) => format!("FAIL  {} ({:.2} s): {why}", row.name, row.seconds),
        Outcome::Advice(why) => format!("should {} ({:.2} s): {why}", row.name, row.seconds),
        Outcome::NotApplicable(why) => format!("n/a   {}: {why}", row.name),
    }
}

fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".into(),
            '<' => "&lt;".into(),
            '>' => "&gt;".into(),
            '"' => "&quot;".into(),
            c if c.is_control() => "?".into(),
            c => c.to_string(),
        })
        .collect()
}
