//! Eviction: removes local files above the cache's budget, least recently used first, if a backend is known to have
//! them.
//!
//! Its copies are asked for first. The file is removed only under its digest's lock. By the catalog its content must have been read back whole, and no
//! removal of it may still take effect. Lists of unit roots stay, since cold reads need them.

use std::collections::BinaryHeap;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use content_store::{ContentStore, StoreError};
use tokio_util::sync::CancellationToken;

use super::Remote;
use super::audit::{Challenge, challenge};
use crate::content::{Error, LocalContent};
use crate::oci::Digest;

/// Most files chosen by one walk.
const CHOSEN: usize = 1024;
/// A pass ends after this many files whose copies nobody answers for: others would wait as long.
const MOST_SILENT: u32 = 8;
/// Least time between two marks of a file as used.
const MARK_EVERY: Duration = Duration::from_mins(1);

/// The sort key: time of the last use, then the digest.
type Age = (SystemTime, Digest);
/// An age and the file's length.
type Chosen = (SystemTime, Digest, u64);

/// Evicts until `stop`. Without a budget it returns at once.
pub(super) async fn run(here: &Arc<LocalContent>, remote: &Arc<Remote>, stop: &CancellationToken) {
    let settings = &remote.settings;
    while settings.cache_size > 0 && !stop.is_cancelled() {
        match pass(here, remote, settings.cache_size, stop).await {
            Ok(0) => {}
            Ok(files) => tracing::debug!(files, "evicted local files"),
            Err(error) => tracing::warn!(%error, "local files cannot be evicted now"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(settings.evict_every) => {}
        }
    }
}

/// Evicts files until the rest fits the budget, or must stay. Returns how many were evicted.
pub(super) async fn pass(
    here: &Arc<LocalContent>,
    remote: &Arc<Remote>,
    budget: u64,
    stop: &CancellationToken,
) -> Result<u64, Error> {
    // A backup keeps all files, so none needs to be considered.
    if here.kept.is_asked_for() {
        return Ok(0);
    }
    let (mut evicted, mut after, mut silent) = (0, None, 0);
    loop {
        let from: Option<Age> = after.take();
        let (total, oldest) = here.blocking(move |store| oldest(store, from.as_ref())).await?;
        let mut excess = total.saturating_sub(budget);
        for (used, digest, length) in &oldest {
            if excess == 0 || stop.is_cancelled() {
                return Ok(evicted);
            }
            after = Some((*used, digest.clone()));
            if !may_go(here, digest)? {
                continue;
            }
            match challenge(here, remote, digest).await? {
                Challenge::Passed => {}
                Challenge::Failed => continue,
                Challenge::Silent if silent >= MOST_SILENT => return Ok(evicted),
                Challenge::Silent => {
                    silent += 1;
                    continue;
                }
            }
            if evict(here, digest).await? {
                evicted += 1;
                excess = excess.saturating_sub(*length);
                here.metrics.evicted_bytes.inc_by(*length);
            }
        }
        // The oldest files may be just the ones that must stay.
        if excess == 0 || after.is_none() {
            return Ok(evicted);
        }
    }
}

/// The bytes of all content, and the least recently used files after `after`.
fn oldest(store: &ContentStore, after: Option<&Age>) -> Result<(u64, Vec<Chosen>), StoreError> {
    let (mut total, mut chosen) = (0, BinaryHeap::new());
    for content in store.walk() {
        let content = match content {
            Ok(content) => content,
            Err(StoreError::Stranger(_)) => continue,
            Err(error) => return Err(error),
        };
        total += content.length;
        if after.is_none_or(|(used, digest)| (&content.modified, &content.digest) > (used, digest)) {
            chosen.push((content.modified, content.digest, content.length));
            if chosen.len() > CHOSEN {
                chosen.pop();
            }
        }
    }
    Ok((total, chosen.into_sorted_vec()))
}

async fn evict(here: &Arc<LocalContent>, digest: &Digest) -> Result<bool, Error> {
    let lock = here.locks.lock(digest).await;
    if !may_go(here, digest)? || here.kept.is_asked_for() {
        return Ok(false);
    }
    let name = digest.clone();
    // A crash in the middle may leave the file or not. Either way the backend has the content.
    here.blocking_with(lock, move |store| store.remove(&name)).await
}

/// True if the file is not needed, by the records.
fn may_go(here: &LocalContent, digest: &Digest) -> Result<bool, Error> {
    let catalog = &here.catalog;
    let Some(wanted) = catalog.wanted() else { return Ok(false) };
    Ok(catalog.referenced_size(digest)?.is_some()
        && !catalog.is_only_a_list(digest)?
        && wanted.is_safe(&catalog.placements(digest)?))
}

impl Remote {
    /// Marks a file as used, for eviction. It sets the time of modification, since content never changes.
    pub(crate) fn mark_used(&self, file: &File) {
        if self.settings.cache_size == 0 {
            return;
        }
        let now = SystemTime::now();
        let used = file.metadata().and_then(|metadata| metadata.modified());
        let recent = used.is_ok_and(|used| now.duration_since(used).is_ok_and(|since| since < MARK_EVERY));
        if !recent && let Err(error) = file.set_modified(now) {
            tracing::debug!(%error, "a file cannot be marked as used");
        }
    }
}
