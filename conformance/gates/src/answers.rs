//! The answers of the API to a list of requests, to compare before and after a loss.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use harness::client::{Connection, Request, Target};
use harness::site::sha256;

/// Headers that differ in every answer.
const VOLATILE: [&str; 4] = ["date", "x-request-id", "docker-upload-uuid", "location"];

/// Status, headers, and a description of the body.
type Answer = (u16, Vec<(String, String)>, String);

/// Answers by method and path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers(BTreeMap<String, Answer>);

impl Answers {
    /// Sends all requests in `paths`: each is a method and a path, optionally followed by lines of headers.
    pub fn ask<'a>(target: &Target, paths: impl IntoIterator<Item = &'a String>) -> anyhow::Result<Self> {
        let mut connection = Connection::open(target)?;
        let mut answers = BTreeMap::new();
        for path in paths {
            let mut lines = path.lines();
            let (method, target) = lines.next().and_then(|line| line.split_once(' ')).context("a method and a path")?;
            let request = lines
                .filter_map(|line| line.split_once(": "))
                .fold(Request::new(method, target), |request, (name, value)| request.header(name, value));
            let answer = connection.send(&request).with_context(|| path.clone())?;
            let names = answer.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
            let mut headers: Vec<_> = names.filter(|(name, _)| !VOLATILE.contains(&name.as_str())).collect();
            headers.sort();
            let body = match answer.status {
                200 | 206 => sha256(&answer.body),
                _ => answer.error_code().unwrap_or_default(),
            };
            answers.insert(path.clone(), (answer.status, headers, body));
        }
        Ok(Answers(answers))
    }

    /// Merges the answers to several clients.
    pub fn merge(parts: Vec<Answers>) -> Self {
        Answers(parts.into_iter().flat_map(|part| part.0).collect())
    }

    /// True if some answer found something.
    pub fn found_anything(&self) -> bool {
        self.0.values().any(|(status, ..)| *status == 200)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The paths whose answers differ.
    pub fn differing(&self, other: &Answers) -> Vec<&str> {
        let differs = |path: &&String| self.0.get(*path) != other.0.get(*path);
        self.0.keys().filter(differs).map(String::as_str).collect()
    }

    /// Fails if any answer differs.
    pub fn same(&self, other: &Answers) -> anyhow::Result<()> {
        let differing = self.differing(other);
        let first = differing.first().copied().unwrap_or_default();
        let count = differing.len();
        ensure!(
            differing.is_empty(),
            "{count} answers differ; {first}: {:?}, now {:?}",
            self.0.get(first),
            other.0.get(first)
        );
        Ok(())
    }
}
