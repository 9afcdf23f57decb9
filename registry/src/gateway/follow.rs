//! Follows the journal: all referenced content gets a record of its base sector.
//!
//! At the first start, a walk visits all referenced content in the order of digests. So it does when the journal no
//! longer reaches back to the recorded state. Then the facts of the journal are processed, page by page.
//!
//! Durable steps, and what a crash after each leaves behind:
//!
//! 1. the fanout of large content is stored, one by one: it is not computed again;
//! 2. the records of a page are synced: they are found, and not written again;
//! 3. the state names the last content of the page, or the last fact: the next page begins after it.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::records::Found;
use super::state::{FORMAT, State, Walk};
use crate::catalog::command::ReadError;
use crate::catalog::fact::Fact;
use crate::catalog::{FactsSinceError, Replay, ReplayError};
use crate::content::Error;
use crate::oci::Digest;

/// Interval between checks whether the journal has grown. Skylinks of a push are available about this long after it.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// Interval between sweeps, which remove the records of unreferenced content.
const SWEEP_EVERY: Duration = Duration::from_hours(1);
/// Number of facts whose records become durable together.
const PAGE: usize = 256;
/// Number of digests in a page of a walk.
pub(super) const WALK_PAGE: usize = if cfg!(test) { 4 } else { 64 };
/// Most roots waiting in memory to be written. Content with more roots is written at once.
const MAX_WAITING: usize = 64 * 1024;

/// Why the records fall behind the journal.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    #[error("cannot read the journal")]
    Journal(#[from] ReplayError),
    #[error(transparent)]
    Catalog(#[from] ReadError),
    #[error(transparent)]
    Content(#[from] Error),
    #[error("cannot use the records of the gateway")]
    Records(#[from] io::Error),
    #[error("the task that writes records panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

/// See [`Gateway::follow`].
pub(super) async fn follow(gateway: &Gateway, stop: &CancellationToken) {
    let (mut state, mut swept): (Option<State>, Option<Instant>) = (None, None);
    loop {
        let mut pause = LOOK_EVERY;
        let due = swept.is_none_or(|swept| swept.elapsed() > SWEEP_EVERY);
        let result = match gateway.keep_up(&mut state, stop).await {
            Ok(()) if due && !stop.is_cancelled() => gateway.sweep().await.map(|()| swept = Some(Instant::now())),
            result => result,
        };
        if let Err(error) = result {
            let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(%error, %reason, "the gateway does not know all content yet, and will retry");
            pause = PAUSE;
        }
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Records that are not written yet.
#[derive(Default)]
struct Waiting {
    found: Vec<Found>,
    roots: usize,
}

impl Gateway {
    async fn keep_up(&self, state: &mut Option<State>, stop: &CancellationToken) -> Result<(), FollowError> {
        let state = match state {
            Some(state) => state,
            None => state.insert(self.begin().await?),
        };
        self.catch_up(state, stop).await
    }

    /// The state in force. If it belongs to another journal, profile or format, all records are removed.
    pub(super) async fn begin(&self) -> Result<State, FollowError> {
        let last = self.registry.catalog().status().sequence;
        let fresh = self.all_anew(last);
        let records = self.records.clone();
        let beginning = spawn_blocking(move || {
            let ours = |state: &State| {
                let State { format, journal, profile, sequence, .. } = state;
                (*format, journal, profile) == (FORMAT, &fresh.journal, &fresh.profile) && *sequence <= last
            };
            if let Some(state) = records.state.get().filter(ours) {
                return Ok(state);
            }
            records.clear()?;
            records.state.set(&fresh)?;
            Ok::<_, io::Error>(fresh)
        });
        Ok(beginning.await??)
    }

    /// The state before a walk over all content referenced at `sequence`.
    fn all_anew(&self, sequence: u64) -> State {
        let (journal, profile) = (self.journal.clone(), self.profile.to_string());
        State { format: FORMAT, journal, profile, sequence, walk: Some(Walk::default()) }
    }

    /// Processes all facts that are not processed yet.
    pub(super) async fn catch_up(&self, state: &mut State, stop: &CancellationToken) -> Result<(), FollowError> {
        while !stop.is_cancelled() {
            if let Some(walk) = state.walk.clone() {
                self.walk(walk, state, stop).await?;
                continue;
            }
            let end = self.registry.catalog().status().sequence;
            if state.sequence >= end {
                return Ok(());
            }
            let (catalog, after) = (self.registry.catalog().clone(), state.sequence);
            match spawn_blocking(move || catalog.facts_since(after)).await? {
                Ok(facts) => return self.take_in(facts, state, stop).await,
                Err(FactsSinceError::Read(error)) => return Err(error.into()),
                Err(FactsSinceError::Compacted { .. }) => self.reached(state, self.all_anew(end)).await?,
            }
        }
        Ok(())
    }

    /// Continues a walk, to its end unless the node stops.
    async fn walk(&self, walk: Walk, state: &mut State, stop: &CancellationToken) -> Result<(), FollowError> {
        tracing::info!(
            after = walk.after.as_ref().map(tracing::field::display),
            "walking over all content to find its skylinks"
        );
        let mut after = walk.after;
        loop {
            let (catalog, from) = (self.registry.catalog().clone(), after.clone());
            let page = spawn_blocking(move || catalog.referenced_after(from.as_ref(), WALK_PAGE)).await??;
            after = page.last().filter(|_| page.len() == WALK_PAGE).cloned();
            if !self.learn_page(page, stop).await? {
                return Ok(());
            }
            let walk = after.clone().map(|after| Walk { after: Some(after) });
            self.reached(state, State { walk, ..state.clone() }).await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Processes the facts after the state's sequence.
    async fn take_in(&self, mut facts: Replay, state: &mut State, stop: &CancellationToken) -> Result<(), FollowError> {
        loop {
            let (rest, page) = spawn_blocking(move || read_page(facts)).await?;
            facts = rest;
            let page = page?;
            let Some(sequence) = page.last().map(|(sequence, _)| *sequence) else { return Ok(()) };
            let is_last = page.len() < PAGE;
            let contents = page.into_iter().filter_map(|(_, fact)| content_of(fact));
            if !self.learn_page(contents, stop).await? {
                return Ok(());
            }
            self.reached(state, State { sequence, ..state.clone() }).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Writes the records of content durably; `false` if the node stops first.
    async fn learn_page(
        &self,
        contents: impl IntoIterator<Item = Digest>,
        stop: &CancellationToken,
    ) -> Result<bool, FollowError> {
        let (mut waiting, mut seen) = (Waiting::default(), HashSet::new());
        for digest in contents {
            if stop.is_cancelled() {
                return Ok(false);
            }
            let catalog = self.registry.catalog();
            if !seen.insert(digest.clone()) || catalog.is_only_a_list(&digest)? {
                continue;
            }
            let Some(length) = catalog.referenced_size(&digest)? else { continue };
            if let Some(found) = self.learn(&digest, length, stop).await? {
                waiting.roots += found.sectors.len();
                waiting.found.push(found);
            }
            if waiting.roots > MAX_WAITING {
                self.write(std::mem::take(&mut waiting)).await?;
            }
        }
        // After a stop these records are found again, so they are not lost.
        self.write(waiting).await?;
        Ok(!stop.is_cancelled())
    }

    async fn write(&self, waiting: Waiting) -> Result<(), FollowError> {
        let records = self.records.clone();
        Ok(spawn_blocking(move || records.put(&waiting.found)).await??)
    }

    /// Records durably how far the records go.
    async fn reached(&self, state: &mut State, new: State) -> Result<(), FollowError> {
        let file = self.records.state.clone();
        *state = spawn_blocking(move || file.set(&new).map(|()| new)).await??;
        Ok(())
    }

    /// Removes the records of unreferenced content. Race-free: a reference added after the check produces a fact that
    /// was not processed yet.
    pub(super) async fn sweep(&self) -> Result<(), FollowError> {
        let (catalog, records) = (self.registry.catalog().clone(), self.records.clone());
        let sweeping = spawn_blocking(move || {
            records.retain(|digest| -> Result<bool, FollowError> { Ok(catalog.is_referenced(digest)?) })
        });
        let removed = sweeping.await??;
        tracing::debug!(removed, "removed records of unreferenced content");
        Ok(())
    }
}

/// The content that may get a record because of this fact.
fn content_of(fact: Fact) -> Option<Digest> {
    match fact {
        Fact::BlobLinked { digest, .. } | Fact::ManifestStored { digest, .. } | Fact::Placed { digest, .. } => {
            Some(digest)
        }
        Fact::UnitRoots { digest, units, .. } if units > 0 => Some(digest),
        _ => None,
    }
}

/// The next facts with their sequences; fewer than a page at the end of the journal.
fn read_page(mut facts: Replay) -> (Replay, Result<Vec<(u64, Fact)>, ReplayError>) {
    let page = facts.by_ref().take(PAGE).map(|record| record.map(|record| (record.sequence, record.fact)));
    let page = page.collect();
    (facts, page)
}
