//! The only writer: checks the waiting requests, appends their facts, applies them to the index, then answers.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use content_store::{Reserved, Room};

use super::check::{Accepted, Batch, Rejection};
use super::compaction::Compactor;
use super::index::directory::{KnownEnd, Mark};
use super::index::{Index, Stamp};
use super::journal::{AppendError, AppendKind, Journal};
use super::options::Clock;
use super::queue::{Turn, Waiting};
use super::rebuild::Workshop;
use super::request::Request;
use super::shared::Shared;
use crate::catalog::command::{CommitError, Committed};

/// Bytes by which a batch makes the index larger, at most: a part of its own, and one for each unit of weight.
const BATCH_BYTES: u64 = 64 << 10;
const WEIGHT_BYTES: u64 = 256;

/// How long closing waits for running reads.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// Interval of checks while waiting.
pub(super) const STEP: Duration = Duration::from_millis(10);

/// The state of the writer's thread.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Journal,
    pub(super) queue: Waiting,
    pub(super) workshop: Workshop,
    /// Room beside the index.
    pub(super) room: Room,
    pub(super) compactor: Compactor,
    pub(super) clock: Clock,
    pub(super) boot: String,
    /// Most failures of the index since the start.
    pub(super) most_abandoned: u32,
    /// Ends the process, and logs this reason.
    pub(super) on_index_lost: fn(&str),
    /// Number of failed rebuilds in a row.
    pub(super) failed_rebuilds: u32,
}

/// Which requests a batch accepts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Admit {
    All,
    /// Only requests that free space: the disk is full, or nearly so.
    Releasing,
}

type Verdict = Result<Accepted, CommitError>;

impl Writer {
    /// Works until the catalog is closed or dropped.
    pub(super) fn run(mut self) {
        loop {
            self.compactor.collect(&mut self.journal, &self.shared);
            if self.shared.is_stopping() {
                break;
            }
            let Some(index) = self.shared.index() else {
                self.restore();
                continue;
            };
            if self.shared.read_only.load(Ordering::Acquire) {
                self.revive_journal(&index);
                continue;
            }
            if let Some(counter) = &self.shared.counter
                && let Err(fault) = counter.follow_wanted(&index, self.journal.last_sequence())
            {
                self.shared.distrust(&index, &fault);
                continue;
            }
            self.compactor.start(&mut self.journal, &self.shared);
            let generation = index.generation();
            drop(index);
            self.workshop.keep_space(generation);
            match self.queue.next() {
                Turn::Batch(requests) => {
                    let weight = requests.iter().map(|request| request.weight).sum::<usize>() as u64;
                    self.workshop.lend_space(generation, weight);
                    let (admit, _room) = self.admit(weight);
                    self.process(requests, admit);
                }
                Turn::Wake => {}
                Turn::End => break,
            }
        }
        self.close();
    }

    /// Which requests to accept, with the room that they need beside the index. If the file system does not report its
    /// free space, all.
    fn admit(&self, weight: u64) -> (Admit, Option<Reserved>) {
        match self.room.reserve(BATCH_BYTES + weight * WEIGHT_BYTES) {
            Ok(reserved) => (Admit::All, Some(reserved)),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => (Admit::Releasing, None),
            Err(_) => (Admit::All, None),
        }
    }

    /// Durable steps, and what a crash after each leaves behind:
    /// 1. the journal's append with its one sync: facts that no caller was told of; the next start applies them;
    /// 2. the batch in sled, not synced: the next start applies what sled lost, or rebuilds the index.
    ///
    /// No request is answered before both, or before a failed index is out of use. Even a refusal may depend on facts of
    /// this batch.
    fn process(&mut self, requests: Vec<Request>, admit: Admit) {
        let Some(index) = self.shared.index() else { return answer_all(requests, || CommitError::Unavailable) };
        let before = self.journal.last_sequence();
        let first = Stamp { sequence: before + 1, time: self.clock.now_ms() };
        let mut batch = Batch::new(&index, first);
        let mut verdicts = Vec::with_capacity(requests.len());
        for request in &requests {
            match self.shared.watched(|| judge(&mut batch, request, admit)) {
                Ok(verdict) => verdicts.push(verdict),
                Err(fault) => {
                    self.shared.distrust(&index, &fault);
                    return answer_all(requests, || CommitError::Unavailable);
                }
            }
        }
        let Batch { view, facts, .. } = batch;
        if facts.is_empty() {
            return answer_each(requests, verdicts, before);
        }
        let compare = || self.shared.counter.as_ref().map(|counter| counter.compare(&index, &view, &facts)).transpose();
        let backlog = match self.shared.watched(compare) {
            Ok(backlog) => backlog,
            Err(fault) => {
                self.shared.distrust(&index, &fault);
                return answer_all(requests, || CommitError::Unavailable);
            }
        };
        let changes = view.into_changes();
        match self.append(&facts, first.time, kind(&requests, &verdicts)) {
            Ok(range) => {
                let applied = self.shared.watched(|| index.apply(changes, Some(*range.end())));
                if let Err(fault) = applied {
                    // The facts are durable, and no read sees an index without them: the next one has them.
                    self.shared.distrust(&index, &fault);
                    return answer_each(requests, verdicts, before);
                }
                self.shared.sequence.store(*range.end(), Ordering::Release);
                if let (Some(counter), Some(backlog)) = (&self.shared.counter, backlog) {
                    counter.publish(backlog, *range.end());
                }
                answer_each(requests, verdicts, before);
            }
            Err(AppendError::DiskFull) if admit == Admit::All => self.process(requests, Admit::Releasing),
            Err(AppendError::DiskFull) => answer_all(requests, || CommitError::DiskFull),
            // One by one, all but the oversized request fit.
            Err(AppendError::TooLarge) if requests.len() > 1 => {
                for request in requests {
                    self.process(vec![request], admit);
                }
            }
            Err(AppendError::TooLarge) => {
                tracing::error!(facts = facts.len(), "a request has more facts than fit into a batch of the journal");
                answer_all(requests, || CommitError::Unavailable);
            }
            Err(AppendError::Failed) => {
                self.shared.read_only.store(true, Ordering::Release);
                answer_all(requests, || CommitError::ReadOnly);
            }
        }
    }

    fn append(
        &mut self,
        facts: &[crate::catalog::fact::Fact],
        time_ms: u64,
        kind: AppendKind,
    ) -> Result<RangeInclusive<u64>, AppendError> {
        let range = self.journal.append(facts, time_ms, kind)?;
        self.shared.batches.fetch_add(1, Ordering::Relaxed);
        Ok(range)
    }

    fn close(mut self) {
        self.queue.close();
        self.compactor.join(&mut self.journal, &self.shared);
        if let Some(index) = self.shared.remove()
            && let Err(error) = close_index(index, &self.workshop, &self.boot, self.journal.last_sequence())
        {
            tracing::warn!(error, "the index is not marked as closed");
        }
        self.shared.closed.store(true, Ordering::Release);
    }
}

/// Closes a database so that the next start can trust it even after a power cut.
///
/// Durable steps: all files are synced, then the mark is written. A crash in between has the effect of no close at all.
fn close_index(index: Arc<Index>, workshop: &Workshop, boot: &str, sequence: u64) -> Result<(), String> {
    let generation = index.generation();
    let mut index = Some(index);
    let mut waited = Duration::ZERO;
    let alone = loop {
        match index.take().map(Arc::try_unwrap) {
            Some(Err(shared)) if waited < CLOSE_PATIENCE => index = Some(shared),
            Some(Ok(alone)) => break alone,
            _ => return Err("a read did not end".into()),
        }
        thread::sleep(STEP);
        waited += STEP;
    };
    if let Err(fault) = alone.flush() {
        alone.abandon();
        return Err(fault.to_string());
    }
    drop(alone);
    let mark = Mark {
        boot: boot.to_owned(),
        clean: Some(generation),
        journal: Some(KnownEnd { id: workshop.journal.clone(), sequence }),
    };
    let synced = workshop.directory.sync(generation).and_then(|()| workshop.directory.set_mark(&mark));
    synced.map_err(|error| error.to_string())
}

/// The verdict on a request. The outer error is a failure of the index.
fn judge(batch: &mut Batch<'_>, request: &Request, admit: Admit) -> Result<Verdict, super::index::Fault> {
    let outcome = if admit == Admit::All || request.is_releasing() {
        batch.add(&request.commands).map(Some)
    } else {
        batch.add_if_nothing_changes(&request.commands)
    };
    match outcome {
        Ok(accepted) => Ok(accepted.ok_or(CommitError::DiskFull)),
        Err(Rejection::Refused(refusal)) => Ok(Err(refusal.into())),
        Err(Rejection::Fault(fault)) => Err(fault),
    }
}

/// The kind of append. Only a batch that does nothing but free space may use the reserve.
fn kind(requests: &[Request], verdicts: &[Verdict]) -> AppendKind {
    let writes = |verdict: &Verdict| verdict.as_ref().is_ok_and(|accepted| !accepted.facts.is_empty());
    let ordinary = requests.iter().zip(verdicts).any(|(request, verdict)| writes(verdict) && !request.is_releasing());
    if ordinary { AppendKind::Ordinary } else { AppendKind::Releasing }
}

/// `before` is the last sequence before the batch; its facts have the next ones.
fn answer_each(requests: Vec<Request>, verdicts: Vec<Verdict>, before: u64) {
    for (request, verdict) in requests.into_iter().zip(verdicts) {
        request.answer(verdict.map(|accepted| Committed {
            sequence: before + accepted.facts.end as u64,
            orphaned: accepted.orphaned,
            moved: accepted.moved,
        }));
    }
}

fn answer_all(requests: Vec<Request>, error: impl Fn() -> CommitError) {
    for request in requests {
        request.answer(Err(error()));
    }
}
