//! Keeps the records up with the journal: whatever it says is held gets the record of its base sector.
//!
//! Durable steps, and what a crash after each leaves behind:
//!
//! 1. the unit roots of large content are kept, as placement keeps them: whoever needs them next finds them;
//! 2. the records of a page of facts are synced: they are found already, and written again;
//! 3. the state names the last of these facts: the next page begins behind it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use storage_backends::backend::UNIT;
use storage_backends::fs::StoreError;
use storage_backends::skynet::KIND;
use storage_backends::skynet::base_sector::AssembleError;
use storage_backends::skynet::canonical::{self, Form, UnitRoots};
use storage_backends::skynet::sector::SectorRoot;
use storage_backends::skynet::skylink::{Skylink, Target};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::records::{Batch, Record, State};
use crate::catalog::command::ReadError;
use crate::catalog::fact::{Fact, Locator};
use crate::catalog::{FactsSinceError, Replay, ReplayError};
use crate::oci::Digest;
use crate::placement;
use crate::service::Error;

/// Between two looks at whether the journal has grown: about so long after a push its skylinks can be had.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// From one removal of records whose content is gone to the next.
const SWEEP_EVERY: Duration = Duration::from_hours(1);
/// Facts whose records become durable together.
const PAGE: usize = 256;

/// Why the records stay behind.
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
    #[error("the work on records panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

/// See [`Gateway::follow`].
pub(super) async fn follow(gateway: &Gateway, stop: &CancellationToken) {
    let mut known = gateway.known().await;
    let mut swept: Option<Instant> = None;
    loop {
        let mut pause = LOOK_EVERY;
        let due = swept.is_none_or(|swept| swept.elapsed() > SWEEP_EVERY);
        let result = match gateway.catch_up(&mut known, stop).await {
            Ok(()) if due => gateway.sweep().await.map(|()| swept = Some(Instant::now())),
            result => result,
        };
        if let Err(error) = result {
            let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(%error, %reason, "the gateway does not know all content, and will try again");
            pause = PAUSE;
        }
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

impl Gateway {
    /// The sequence up to which all content has its record; `None`: nobody knows, or the records are of something else.
    pub(super) async fn known(&self) -> Option<u64> {
        let records = self.records.clone();
        let state = spawn_blocking(move || records.state()).await.ok()??;
        let last = self.registry.catalog().status().sequence;
        (state == self.state(state.sequence) && state.sequence <= last).then_some(state.sequence)
    }

    fn state(&self, sequence: u64) -> State {
        State { journal: self.journal.clone(), profile: self.profile.to_string(), sequence }
    }

    /// Takes in what the journal has beyond what is known.
    pub(super) async fn catch_up(&self, known: &mut Option<u64>, stop: &CancellationToken) -> Result<(), FollowError> {
        let end = self.registry.catalog().status().sequence;
        if known.is_some_and(|known| known >= end) {
            return Ok(());
        }
        let (gateway, from) = (self.clone(), *known);
        let (mut facts, in_order) = spawn_blocking(move || gateway.open_facts(from)).await??;
        let last = facts.last_sequence().max(end);
        while !stop.is_cancelled() {
            let (rest, page) = spawn_blocking(move || read_page(facts)).await?;
            facts = rest;
            let page = page?;
            let (is_last, reached) = (page.len() < PAGE, page.last().map(|(sequence, _)| *sequence));
            if !self.learn_page(page, stop).await? {
                return Ok(());
            }
            // What a snapshot has is in no order of time: it is known when all of it is.
            if let Some(sequence) = if is_last { Some(last) } else { reached.filter(|_| in_order) } {
                let (records, state) = (self.records.clone(), self.state(sequence));
                spawn_blocking(move || records.set_state(&state)).await??;
                *known = Some(sequence);
            }
            if is_last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What comes after a sequence, or all that stands; and whether it is in the order of sequences. Blocks.
    fn open_facts(&self, after: Option<u64>) -> Result<(Replay, bool), FollowError> {
        let catalog = self.registry.catalog();
        match after.map(|after| catalog.facts_since(after)) {
            Some(Ok(facts)) => return Ok((facts, true)),
            Some(Err(FactsSinceError::Read(error))) => return Err(error.into()),
            Some(Err(FactsSinceError::Compacted { .. })) => {}
            // Whatever is there, is of another journal or profile, or of nobody knows what.
            None => {
                self.records.retain(|_| io::Result::Ok(false))?;
            }
        }
        tracing::info!("looking at all content for its skylinks");
        Ok((catalog.replay_state()?, false))
    }

    /// Makes the records of these facts, durably; `false` if the node stops first.
    async fn learn_page(&self, page: Vec<(u64, Fact)>, stop: &CancellationToken) -> Result<bool, FollowError> {
        let mut found = Vec::new();
        for (_, fact) in page {
            if stop.is_cancelled() {
                return Ok(false);
            }
            found.extend(match fact {
                Fact::BlobLinked { digest, size, .. } => self.learn(digest, size, stop).await?,
                Fact::ManifestStored { digest, manifest, .. } => self.learn(digest, manifest.size, stop).await?,
                Fact::UnitRoots { digest, units, .. } if units > 0 => self.learn_listed(digest).await?,
                Fact::Placed { digest, locator, .. } => self.learn_placed(digest, &locator)?,
                _ => None,
            });
        }
        let mut batch = self.records.batch();
        let writing = spawn_blocking(move || write(&mut batch, &found).and_then(|()| batch.finish()));
        writing.await??;
        Ok(true)
    }

    /// The record of content; `None` if there is nothing to make it from now.
    async fn learn(
        &self,
        digest: Digest,
        size: u64,
        stop: &CancellationToken,
    ) -> Result<Option<(SectorRoot, Record)>, FollowError> {
        if !self.registry.catalog().is_held(&digest)? {
            return Ok(None);
        }
        if size <= UNIT {
            return self.learn_small(digest, size).await;
        }
        // Placement computes the roots before it places content; the fact that says so will be met here too.
        if self.registry.remote.is_none() && !placement::keep_unit_roots(&self.registry, &digest, size, stop).await? {
            return Ok(None);
        }
        self.learn_listed(digest).await
    }

    /// Of content that is read whole for it.
    async fn learn_small(&self, digest: Digest, length: u64) -> Result<Option<(SectorRoot, Record)>, FollowError> {
        let (registry, profile) = (Arc::clone(&self.registry), self.profile);
        let reading = spawn_blocking(move || {
            let bytes = match registry.store().read_verified(&digest, length) {
                Ok(bytes) => bytes,
                Err(error) => return Err((digest, error)),
            };
            Ok(match Form::of(&digest, length, profile) {
                Form::Small => canonical::small(&digest, &bytes, profile)
                    .map(|base| (base.root(), Record { digest, length, unit: None })),
                Form::Large => {
                    let mut units = UnitRoots::new(profile.sector_size());
                    units.update(&bytes);
                    let units = units.finish();
                    canonical::large(&digest, length, profile, &units)
                        .map(|base| (base.root(), Record { digest, length, unit: units.first().copied() }))
                }
            })
        });
        match reading.await? {
            Ok(made) => Ok(not_too_large(made)),
            // It was evicted, or is lost: nothing can be served.
            Err((_, StoreError::Missing { .. })) => Ok(None),
            Err((digest, error)) => match self.registry.damaged(&digest, error).await {
                Error::ContentDamaged(_) => Ok(None),
                error => Err(error.into()),
            },
        }
    }

    /// Of content whose unit roots are known.
    async fn learn_listed(&self, digest: Digest) -> Result<Option<(SectorRoot, Record)>, FollowError> {
        let Some(length) = self.registry.catalog().held_size(&digest)?.filter(|length| *length > UNIT) else {
            return Ok(None);
        };
        let (registry, profile) = (Arc::clone(&self.registry), self.profile);
        let making = spawn_blocking(move || -> Result<_, Error> {
            let Some(roots) = placement::unit_roots(&registry, &digest)? else { return Ok(None) };
            let made = canonical::large(&digest, length, profile, &roots);
            Ok(not_too_large(made.map(|base| (base.root(), Record { digest, length, unit: None }))))
        });
        Ok(making.await??)
    }

    /// Of content that need not be here: a place of this profile names its skylink.
    fn learn_placed(&self, digest: Digest, locator: &Locator) -> Result<Option<(SectorRoot, Record)>, FollowError> {
        let ours = locator.kind == KIND && locator.profile.parse() == Ok(self.profile);
        let Some(length) = self.registry.catalog().held_size(&digest)?.filter(|_| ours) else { return Ok(None) };
        let needs_unit = length <= UNIT && Form::of(&digest, length, self.profile) == Form::Large;
        let Ok(Target::Sector { root, .. }) = Skylink::from_uri(&locator.address).map(|skylink| skylink.target())
        else {
            return Ok(None);
        };
        Ok((!needs_unit).then_some((root, Record { digest, length, unit: None })))
    }

    /// Removes the records of content that nobody holds any more. None is removed that is wanted: whoever begins to hold
    /// it after it was asked about writes a fact that was not looked at yet.
    pub(super) async fn sweep(&self) -> Result<(), FollowError> {
        let (registry, records) = (Arc::clone(&self.registry), self.records.clone());
        let sweeping = spawn_blocking(move || {
            records.retain(|record| -> Result<bool, FollowError> { Ok(registry.catalog().is_held(&record.digest)?) })
        });
        let removed = sweeping.await??;
        tracing::debug!(removed, "looked for records of content that is gone");
        Ok(())
    }
}

/// The next facts with their sequences; fewer than a page at the end.
fn read_page(mut facts: Replay) -> (Replay, Result<Vec<(u64, Fact)>, ReplayError>) {
    let page = facts.by_ref().take(PAGE).map(|record| record.map(|record| (record.sequence, record.fact)));
    let page = page.collect();
    (facts, page)
}

fn write(batch: &mut Batch, found: &[(SectorRoot, Record)]) -> io::Result<()> {
    found.iter().try_for_each(|(root, record)| batch.put(root, record))
}

/// Content that is too long for one skyfile has no skylink.
fn not_too_large(made: Result<(SectorRoot, Record), AssembleError>) -> Option<(SectorRoot, Record)> {
    made.inspect_err(|error| tracing::debug!(%error, "content has no skylink")).ok()
}
