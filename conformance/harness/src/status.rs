//! What a registry reports about itself: unplaced content, metrics, log.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::client::{Request, Target};
use crate::gate::wait_until;

/// Words in names of metrics that count failures.
pub const TROUBLE: [&str; 8] = ["fail", "bad", "error", "corrupt", "damage", "refus", "trouble", "mismatch"];

/// Content that is only on the node, by `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    pub count: u64,
    pub bytes: u64,
}

impl Backlog {
    pub fn of(target: &Target) -> anyhow::Result<Self> {
        let answer = target.send(&Request::get("/readyz"))?;
        Self::parse(&answer.expect(200)?.json()?)
    }

    fn parse(body: &serde_json::Value) -> anyhow::Result<Self> {
        let number = |name: &str| body["durability"][name].as_u64();
        let found = number("backlog").zip(number("backlog_bytes"));
        let (count, bytes) = found.with_context(|| format!("/readyz does not report unplaced content: {body}"))?;
        Ok(Backlog { count, bytes })
    }
}

/// Waits until all content is placed.
pub fn wait_placed(target: &Target, limit: Duration) -> anyhow::Result<()> {
    let mut last = Backlog::of(target)?;
    let placed = wait_until(limit, || {
        Backlog::of(target).is_ok_and(|found| {
            last = found;
            found.count == 0
        })
    });
    ensure!(placed, "{} pieces of content ({} bytes) are not placed after {limit:?}", last.count, last.bytes);
    Ok(())
}

/// Waits until all content is placed and read back: until the registry's counts have not changed for a while.
pub fn settle(target: &Target, limit: Duration) -> anyhow::Result<()> {
    const QUIET: Duration = Duration::from_millis(1500);
    wait_placed(target, limit)?;
    let moved = || -> anyhow::Result<[f64; 3]> {
        let metrics = Metrics::of(target)?;
        Ok(["placed_bytes", "read_back_bytes", "unpinned"].map(|name| metrics.sum(&[name])))
    };
    let (mut last, mut since) = (moved()?, Instant::now());
    let quiet = wait_until(limit, || {
        let now = moved().unwrap_or_default();
        if now.iter().zip(last).any(|(now, last)| (now - last).abs() > 0.5) {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > QUIET
    });
    ensure!(quiet, "the registry was still busy {limit:?} after everything was placed");
    wait_placed(target, limit)
}

/// All samples of `/metrics`, by name with labels.
#[derive(Clone, Debug, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub fn of(target: &Target) -> anyhow::Result<Self> {
        Ok(Self::parse(&target.send(&Request::get("/metrics"))?.expect(200)?.text()))
    }

    fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Metrics(samples.collect())
    }

    /// The sum of all samples whose name with labels contains all of these words.
    pub fn sum(&self, words: &[&str]) -> f64 {
        self.0.iter().filter(|(name, _)| words.iter().all(|word| name.contains(word))).map(|(_, value)| value).sum()
    }

    /// The samples that have grown, and contain one of these words.
    pub fn grown<'a>(&'a self, before: &Metrics, words: &[&str]) -> Vec<&'a str> {
        let is_greater = |name: &String, value: &f64| *value > before.0.get(name.as_str()).copied().unwrap_or_default();
        let grown = self.0.iter().filter(|(name, value)| is_greater(name, value));
        grown.map(|(name, _)| name.as_str()).filter(|name| words.iter().any(|word| name.contains(word))).collect()
    }
}

/// One figure of `/metrics`.
pub fn metric(target: &Target, name: &str) -> anyhow::Result<f64> {
    let text = target.send(&Request::get("/metrics"))?.expect(200)?.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.with_context(|| format!("no {name}"))?.parse().with_context(|| format!("{name} is not a number"))
}

/// The warnings and errors of a log after this offset that contain this text.
pub fn warnings(log: &Path, from: u64, text: &str) -> anyhow::Result<Vec<String>> {
    let said = std::fs::read(log)?;
    let said = String::from_utf8_lossy(said.get(usize::try_from(from)?..).unwrap_or_default()).into_owned();
    let is_loud = |line: &&str| ["WARN", "ERROR", "warn", "error"].iter().any(|level| line.contains(level));
    Ok(said.lines().filter(is_loud).filter(|line| line.contains(text)).map(str::to_owned).collect())
}

/// The current length of a log.
pub fn length(log: &Path) -> u64 {
    log.metadata().map_or(0, |about| about.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_placed_must_be_said() {
        let said = serde_json::json!({"state": "ready", "durability": {"backlog": 3, "backlog_bytes": 41}});
        assert_eq!(Backlog::parse(&said).unwrap(), Backlog { count: 3, bytes: 41 });
        assert!(Backlog::parse(&serde_json::json!({"state": "ready"})).is_err());
    }

    #[test]
    fn metrics_that_grow_are_named() {
        let before = Metrics::parse("# HELP a\na_failures_total{portal=\"x\"} 1\nb 2\n");
        let after = Metrics::parse("a_failures_total{portal=\"x\"} 2\nb 3\na_failures_total{portal=\"y\"} 1\n");
        assert_eq!(after.grown(&before, &["fail"]).len(), 2);
        assert!(after.grown(&after.clone(), &["fail"]).is_empty());
        assert!((after.sum(&["a_failures", "portal"]) - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_log_is_searched_from_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        std::fs::write(&log, "WARN 127.0.0.1:1 old\n").unwrap();
        let from = length(&log);
        std::fs::write(&log, "WARN 127.0.0.1:1 old\nINFO 127.0.0.1:1\nWARN 127.0.0.1:1 lies\n").unwrap();
        assert_eq!(warnings(&log, from, "127.0.0.1:1").unwrap(), ["WARN 127.0.0.1:1 lies"]);
    }
}
