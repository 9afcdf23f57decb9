//! Removes copies of unreferenced content at the backend. Each endpoint is asked separately, and repeatedly, until it
//! answers.
//!
//! This explains why content that is pushed again need not wait for a removal, and is not lost by one. The end of each
//! removal request is known: it was answered, failed, timed out, was stopped because the same content is to be stored,
//! or its process died. In every case it takes effect within [`super::Settings::settle`] after that, or never. `U` is
//! any request, and `P` the upload of the same content after it was pushed again:
//!
//! - *`P` begins while `U` is in flight.* A task that stores content has its `moves` lock, and only under that lock can
//!   a request begin. It first stops the requests in flight, so `U` ends before the first byte of `P` is sent. `U`
//!   needed an `UnpinPending`, which is in force until `P` is recorded (see below). So `P` is sent in full, wherever
//!   the bytes seem to be. Its `Placed` has the time of its commit, which is after the end of `U`. Until
//!   [`super::Settings::settle`] after that time nothing is evicted. Then each endpoint is asked for the content and
//!   must pin it again, missing content is sent again, and it is read back.
//! - *A crash before `P` is recorded* ends `U` and `P`. The `UnpinPending` is still in force, the content still lacks a
//!   copy, and all begins again after the end of `U`. *A crash after it*: the `Placed` keeps its time.
//! - *Deleted again during `P`*: no removal begins while the `moves` lock is taken. Then `P` is recorded as an
//!   `UnpinPending`, newer than any request. So one more request is sent to each endpoint after `P` has ended.
//! - *`P` begins after the pending unpin was closed.* An unpin is closed only the settle time after the last endpoint
//!   answered. Each endpoint has one request at a time, so all earlier requests there had ended before. A crash forgets
//!   the answers: all endpoints are asked again, and no earlier request is younger than these. So nothing can reach
//!   `P`.
//!
//! An endpoint that does not answer delays no other: each has its own limit of requests in flight, and each request has
//! a deadline.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use backends::{Backend, BackendError, Content};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::queue::pause;
use super::{Remote, names};
use crate::catalog::Placement;
use crate::catalog::command::Command;
use crate::catalog::fact::Locator;
use crate::content::{Error, LocalContent};
use crate::oci::Digest;

/// Pending unpins read in one step.
const PAGE: usize = 256;
/// Most pending unpins worked on at once, each in less than a KiB. Others wait until some are closed, the settle time
/// after their last answer.
const UNDER_WAY: usize = 16_384;
/// Shortest and longest interval between two reads of the pending unpins.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
const MOST_PAUSE: Duration = Duration::from_mins(1);
/// After a slow read, the next one waits this many times its duration.
const LOOKS_APART: u32 = 20;
/// Unpins of content that is being stored, or is referenced again, are retried after this many first pauses.
const HELD_PAUSES: u32 = 5;

/// The outcome of one request.
#[derive(Debug)]
enum Asked {
    Answered,
    Failed(BackendError),
    /// It must not be removed now: it is referenced again, or being stored.
    NotNow,
}

/// One endpoint, with the requests due there.
#[derive(Debug)]
struct Lane {
    /// The backend itself if it is one endpoint.
    endpoint: Arc<dyn Backend>,
    /// Requests by due time and by the sequence of their unpin.
    due: BTreeSet<(Instant, u64)>,
    running: usize,
}

/// A pending unpin with its sequence.
#[derive(Debug)]
struct Pending {
    digest: Digest,
    placement: Placement,
    /// Failures in a row, by lane.
    failures: Vec<u32>,
    /// Number of lanes that have not answered.
    unanswered: usize,
}

struct Unpins<'a> {
    here: &'a Arc<LocalContent>,
    remote: &'a Arc<Remote>,
    lanes: Vec<Lane>,
    pending: HashMap<u64, Pending>,
    /// Unpins answered by all endpoints, by the time at which they are closed.
    closing: BTreeSet<(Instant, u64)>,
    asked: JoinSet<Result<Asked, Error>>,
    /// Lane and sequence of each request.
    names: HashMap<Id, (usize, u64)>,
}

/// Removes copies until `stop`.
pub(super) async fn run(here: &Arc<LocalContent>, remote: &Arc<Remote>, stop: &CancellationToken) {
    let Some(mut changes) = here.catalog.placement_changes() else { return };
    let mut unpins = Unpins::new(here, remote);
    let (mut changed, mut look_after) = (true, Instant::now());
    while !stop.is_cancelled() {
        let now = Instant::now();
        let look_at = if changed { look_after } else { look_after + MOST_PAUSE };
        if look_at <= now {
            changed = false;
            changes.mark_unchanged();
            if let Err(error) = unpins.look().await {
                tracing::debug!(%error, "pending unpins cannot be read now");
                changed = true;
            }
            look_after = now + LEAST_PAUSE.min(remote.settings.first_pause).max(now.elapsed() * LOOKS_APART);
            continue;
        }
        unpins.begin();
        unpins.close_due().await;
        let until = unpins.next_due().map_or(look_at, |due| due.min(look_at));
        tokio::select! {
            () = stop.cancelled() => {}
            Some(ended) = unpins.asked.join_next_with_id() => unpins.end(ended),
            Ok(()) = changes.changed(), if !changed => changed = true,
            () = sleep_until(until) => {}
        }
    }
    // Requests in flight end here.
    unpins.asked.shutdown().await;
}

impl<'a> Unpins<'a> {
    fn new(here: &'a Arc<LocalContent>, remote: &'a Arc<Remote>) -> Self {
        let members = names::members(&remote.backend);
        let lane = |endpoint| Lane { endpoint, due: BTreeSet::new(), running: 0 };
        Unpins {
            here,
            remote,
            lanes: members.into_iter().map(lane).collect(),
            pending: HashMap::new(),
            closing: BTreeSet::new(),
            asked: JoinSet::new(),
            names: HashMap::new(),
        }
    }

    /// Adds new pending unpins, and drops those that are no longer pending.
    async fn look(&mut self) -> Result<(), Error> {
        let mut listed = HashSet::new();
        let mut after: Option<(Digest, Locator)> = None;
        loop {
            let from = after.take();
            let page =
                self.here.reading(move |catalog| Ok::<_, Error>(catalog.pending_unpins(from.as_ref(), PAGE)?)).await?;
            after = page.items.last().map(|(digest, placement)| (digest.clone(), placement.locator.clone()));
            for (digest, placement) in page.items {
                let sequence = placement.sequence;
                if self.pending.contains_key(&sequence) || self.add(digest, placement) {
                    listed.insert(sequence);
                }
            }
            if !page.more {
                break;
            }
        }
        self.pending.retain(|sequence, _| listed.contains(sequence));
        Ok(())
    }

    /// Adds a pending unpin. Unpins at endpoints that are not configured wait, and `status` counts them.
    fn add(&mut self, digest: Digest, placement: Placement) -> bool {
        let reaches = self.here.catalog.wanted().is_some_and(|wanted| wanted.reaches(&placement.locator));
        if !reaches || self.pending.len() >= UNDER_WAY {
            return false;
        }
        let (now, sequence, lanes) = (Instant::now(), placement.sequence, self.lanes.len());
        self.lanes.iter_mut().for_each(|lane| lane.due.extend([(now, sequence)]));
        self.pending.insert(sequence, Pending { digest, placement, failures: vec![0; lanes], unanswered: lanes });
        true
    }

    /// Sends as many requests as allowed.
    fn begin(&mut self) {
        let now = Instant::now();
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            while lane.running < self.remote.settings.transfers
                && let Some(first) = lane.due.first().filter(|first| first.0 <= now).copied()
            {
                lane.due.remove(&first);
                let Some(pending) = self.pending.get(&first.1) else { continue };
                let (here, remote) = (Arc::clone(self.here), Arc::clone(self.remote));
                let (digest, placement) = (pending.digest.clone(), pending.placement.clone());
                let at = (number, Arc::clone(&lane.endpoint));
                let task = self.asked.spawn(async move { ask(&here, &remote, &digest, &placement, at).await });
                self.names.insert(task.id(), (number, first.1));
                lane.running += 1;
            }
        }
    }

    fn end(&mut self, ended: Result<(Id, Result<Asked, Error>), JoinError>) {
        let (id, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Err(error.into())),
        };
        let Some((number, sequence)) = self.names.remove(&id) else { return };
        let (lane, settings, now) = (&mut self.lanes[number], &self.remote.settings, Instant::now());
        lane.running -= 1;
        let Some(pending) = self.pending.get_mut(&sequence) else { return };
        let wait = match outcome {
            Ok(Asked::Answered) => {
                pending.unanswered -= 1;
                if pending.unanswered == 0 {
                    self.closing.insert((now + settings.settle, sequence));
                }
                return;
            }
            Ok(Asked::NotNow) | Err(_) => settings.first_pause * HELD_PAUSES,
            Ok(Asked::Failed(error)) => {
                pending.failures[number] = pending.failures[number].saturating_add(1);
                let wait = match error.is_retryable() {
                    true => pause(pending.failures[number], settings.first_pause, settings.longest_pause),
                    false => settings.longest_pause,
                };
                let (digest, endpoint) = (&pending.digest, lane.endpoint.endpoint().unwrap_or_default());
                let again_in_ms = wait.as_millis() as u64;
                tracing::warn!(%digest, endpoint, %error, again_in_ms, "the backend did not remove content");
                self.here.metrics.unpin_failures.inc();
                wait
            }
        };
        lane.due.insert((now + wait, sequence));
    }

    /// Closes unpins that all endpoints answered long enough ago.
    async fn close_due(&mut self) {
        while let Some((due, sequence)) = self.closing.first().copied()
            && due <= Instant::now()
        {
            self.closing.remove(&(due, sequence));
            let Some(pending) = self.pending.get(&sequence) else { continue };
            // Endpoints that were not asked still have it.
            let endpoints = self.lanes.iter().filter_map(|lane| lane.endpoint.endpoint()).collect();
            let locator = Locator { endpoints, ..pending.placement.locator.clone() };
            let command = Command::RecordUnplaced { digest: pending.digest.clone(), locator, standing: sequence };
            match self.here.catalog.commit(vec![command]).await {
                Ok(_) => {
                    self.pending.remove(&sequence);
                    self.here.metrics.unpinned.inc();
                }
                Err(error) => {
                    tracing::debug!(%error, "a removal cannot be recorded now");
                    self.closing.insert((Instant::now() + self.remote.settings.first_pause, sequence));
                }
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let free = self.lanes.iter().filter(|lane| lane.running < self.remote.settings.transfers);
        let lanes = free.filter_map(|lane| lane.due.first());
        lanes.chain(self.closing.first()).map(|(due, _)| *due).min()
    }
}

/// Asks one endpoint, with this number, for a removal. Stops when the content is to be stored.
async fn ask(
    here: &LocalContent,
    remote: &Remote,
    digest: &Digest,
    placement: &Placement,
    (number, endpoint): (usize, Arc<dyn Backend>),
) -> Result<Asked, Error> {
    let locator = &placement.locator;
    let Ok(content) = Content::new(digest.clone(), locator.stored_size) else { return Ok(Asked::NotNow) };
    let removal = {
        // An upload of the same content may take hours. Its `placed` then replaces this unpin.
        let Some(_move) = remote.moves.try_lock(digest) else { return Ok(Asked::NotNow) };
        let catalog = &here.catalog;
        let stands = catalog.placements(digest)?.iter().any(|found| found.sequence == placement.sequence);
        if !stands || (catalog.is_lacking(digest)?.is_some() && remote.may_place(catalog, digest)?) {
            return Ok(Asked::NotNow);
        }
        let Some(removal) = remote.removals.begin(digest, number) else { return Ok(Asked::NotNow) };
        removal
    };
    let after = remote.settings.removal_patience;
    let deleting = endpoint.delete(&content, locator);
    let asked = tokio::select! {
        biased;
        () = removal.broken_off() => Asked::NotNow,
        answered = timeout(after, deleting) => match answered {
            Ok(Ok(_) | Err(BackendError::NotFound)) => Asked::Answered,
            Ok(Err(error)) => Asked::Failed(error),
            Err(_) => Asked::Failed(BackendError::TimedOut { waited_for: "answer to a removal", after }),
        },
    };
    // The request has been dropped by now.
    drop(removal);
    Ok(asked)
}
