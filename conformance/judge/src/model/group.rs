//! One group of repositories under test: its operations, their answers checked by the model, and the steps so far.

use std::collections::BTreeSet;

use harness::client::Target;

use crate::model::judge::{Disagreement, Exchange, Judge};
use crate::model::op::Op;
use crate::model::others::is_asked;
use crate::model::script::Step;
use crate::model::state::State;
use crate::model::wire::Wire;

/// Most requests of one group in flight at once.
pub const LANES: usize = 8;

/// Number of removed manifest digests that a comparison requests.
const GONE: usize = 64;

/// A group of repositories checked together.
#[derive(Debug)]
pub struct Group {
    pub judge: Judge,
    pub wire: Wire,
    pub repos: Vec<String>,
    pub history: Vec<Step>,
    /// All blob and manifest digests ever used, to be requested in comparisons.
    blobs: BTreeSet<String>,
    manifests: BTreeSet<String>,
    pub requests: u64,
}

/// The outcome of a step without a disagreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Answered,
    /// The server was killed meanwhile.
    Cut,
}

impl Group {
    /// A group on a registry that may have content of other runs (`crowded`) or not.
    pub fn new(target: Target, repos: Vec<String>, crowded: bool) -> Self {
        Group {
            judge: Judge::new(State { crowded, others: !target.own, ..State::new(&repos) }),
            wire: Wire::new(target, LANES),
            repos,
            history: Vec::new(),
            blobs: BTreeSet::new(),
            manifests: BTreeSet::new(),
            requests: 0,
        }
    }

    /// Sends operations at the same time (or a single one). A broken connection is allowed only if `dying` says so.
    pub fn send(&mut self, ops: Vec<Op>, dying: &dyn Fn() -> bool) -> Result<Flow, Disagreement> {
        for op in &ops {
            self.note(op);
        }
        self.requests += ops.len() as u64;
        if let [op] = &ops[..] {
            let answer = self.wire.run(op);
            let op = op.clone();
            return match answer {
                Ok(response) => {
                    let result = self.judge.take(&op, &response);
                    self.history.push(Step::Do(op));
                    result.map(|()| Flow::Answered)
                }
                Err(error) => self.cut(&[Exchange { op, response: None }], &error, dying),
            };
        }
        let answers = self.wire.run_together(&ops);
        let mut broken = None;
        let mut exchanges = Vec::new();
        for (op, answer) in ops.into_iter().zip(answers) {
            let response = answer.map_err(|error| broken = Some(error)).ok();
            exchanges.push(Exchange { op, response });
        }
        if let Some(error) = broken {
            return self.cut(&exchanges, &error, dying);
        }
        let result = self.judge.take_together(&exchanges);
        self.history.push(Step::Together(exchanges.into_iter().map(|x| x.op).collect()));
        result.map(|()| Flow::Answered)
    }

    fn cut(
        &mut self,
        exchanges: &[Exchange],
        error: &anyhow::Error,
        dying: &dyn Fn() -> bool,
    ) -> Result<Flow, Disagreement> {
        let ops: Vec<Op> = exchanges.iter().map(|exchange| exchange.op.clone()).collect();
        if !dying() {
            let what = format!("{ops:?}");
            self.history.push(if ops.len() == 1 { Step::Do(ops[0].clone()) } else { Step::Together(ops) });
            return Err(Disagreement { what, why: format!("no answer: {error:#}") });
        }
        let result = self.judge.take_together(exchanges);
        self.history.push(Step::Crash { during: ops, after_micros: 200 });
        result.map(|()| Flow::Cut)
    }

    /// Determines the state after a start: first the offsets of open uploads, since unanswered bytes may count.
    pub fn recover(&mut self) -> Result<(), Disagreement> {
        self.wire.hang_up();
        self.judge.restarted();
        for (slot, repo) in self.judge.open_slots() {
            let op = Op::UploadStatus { repo, slot };
            let response = self.wire.run(&op).map_err(|error| no_answer(&op, &error))?;
            if let Err(disagreement) = self.judge.take_offset(&op, &response) {
                self.history.push(Step::Do(op));
                return Err(disagreement);
            }
        }
        self.compare()
    }

    /// Compares all visible state: lists, referrers, and every blob and manifest that exists or existed.
    pub fn compare(&mut self) -> Result<(), Disagreement> {
        self.history.push(Step::Compare);
        let reads = self.everything();
        for ops in reads.chunks(LANES) {
            let answers = self.wire.run_together(ops);
            self.requests += ops.len() as u64;
            for (op, answer) in ops.iter().zip(answers) {
                let result = match answer {
                    Ok(response) => self.judge.take(op, &response),
                    Err(error) => Err(no_answer(op, &error)),
                };
                if result.is_err() {
                    self.history.push(Step::Do(op.clone()));
                    return result;
                }
            }
        }
        Ok(())
    }

    fn everything(&self) -> Vec<Op> {
        let mut ops = vec![Op::Catalog { n: None }, Op::Catalog { n: Some(3) }];
        for (slot, repo) in self.judge.open_slots() {
            ops.push(Op::UploadStatus { repo, slot });
        }
        for repo in &self.repos {
            ops.push(Op::Tags { repo: repo.clone(), n: None, last: None });
            for digest in &self.blobs {
                ops.push(Op::GetBlob { repo: repo.clone(), digest: digest.clone(), head: false, range: None });
            }
            let here = self.judge.state().repo(repo);
            let held = here.into_iter().flat_map(|here| here.manifests.keys());
            let digests: BTreeSet<&String> = held.chain(self.manifests.iter().rev().take(GONE)).collect();
            for digest in digests {
                let (repo, reference) = (repo.clone(), digest.clone());
                ops.push(Op::GetManifest { repo, reference, head: false, if_none_match: None });
            }
            let tags = here.into_iter().flat_map(|here| here.tags.keys());
            for tag in tags {
                let (repo, reference) = (repo.clone(), tag.clone());
                ops.push(Op::GetManifest { repo, reference, head: true, if_none_match: None });
            }
            let manifests = here.into_iter().flat_map(|here| here.manifests.values());
            let subjects: BTreeSet<_> =
                manifests.filter_map(|m| m.reading.subject.as_ref()).map(|s| &s.digest).collect();
            for digest in subjects {
                let (repo, digest) = (repo.clone(), digest.clone());
                ops.push(Op::Referrers { repo, digest, artifact_type: None, n: None });
            }
        }
        let state = self.judge.state();
        ops.retain(|op| !state.others || is_asked(state, op));
        ops
    }

    fn note(&mut self, op: &Op) {
        let is_digest =
            |text: &str| matches!(crate::model::content::grammar(text), crate::model::content::Grammar::Known(_));
        match op {
            Op::PostBlob { digest, .. } | Op::Mount { digest, .. } | Op::CloseUpload { digest: Some(digest), .. }
                if is_digest(digest) =>
            {
                self.blobs.insert(digest.clone());
            }
            Op::PutManifest { reference, digest, body, .. } => {
                let by_digest = digest.as_deref().or_else(|| reference.contains(':').then_some(reference.as_str()));
                match by_digest {
                    Some(digest) if is_digest(digest) => self.manifests.insert(digest.to_owned()),
                    Some(_) => false,
                    None => self.manifests.insert(harness::site::digest("sha256", body.as_bytes())),
                };
            }
            _ => {}
        }
        // Most of them never come back, and it does not matter which ones are dropped.
        while self.manifests.len() > 4 * GONE {
            self.manifests.pop_first();
        }
    }
}

fn no_answer(op: &Op, error: &anyhow::Error) -> Disagreement {
    Disagreement { what: format!("{op:?}"), why: format!("no answer: {error:#}") }
}
