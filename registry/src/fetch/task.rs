//! One fetch: copies units from the backend into the file while a reader needs the next one.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use backends::{Backend as _, BackendError, Content, Locator, UNIT};
use bytes::Bytes;
use content_store::StoreError;
use futures_util::StreamExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::passing::{self, Passing};
use super::units::Units;
use super::{Cold, lost_roots};
use crate::content::Error;

/// Failures in a row after which a fetch ends.
const ATTEMPTS: u32 = 3;
/// Pause after the first failure; twice as long after the second.
const PAUSE: Duration = Duration::from_millis(100);

/// Pieces written at once.
const WRITES: usize = 2;

/// How long a complete fetch waits for readers that take its last pieces from memory.
const LINGER: Duration = Duration::from_millis(100);

/// Why a fetch stopped.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("the cache file: {0}")]
    Disk(#[from] StoreError),
    #[error("writing the cache file panicked")]
    Panicked,
}

/// Begins the fetch with this number.
pub(super) fn begin(cold: &Arc<Cold>, number: u64) {
    let task = Arc::clone(cold);
    cold.here.tasks.spawn(async move {
        // However the fetch ends, its waiting readers are told.
        let guard = Ending { cold: Arc::clone(&task), number };
        let unneeded = until_unneeded(&task, number);
        tokio::select! {
            () = unneeded => task.change(|state| state.end(number)),
            () = bring_all(&task, number) => {}
        }
        drop(guard);
    });
}

struct Ending {
    cold: Arc<Cold>,
    number: u64,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // No effect on a fetch that has ended.
        self.cold.change(|state| state.fail(self.number));
    }
}

/// Returns when no reader needs the fetch any more.
async fn until_unneeded(cold: &Arc<Cold>, number: u64) {
    let mut changes = cold.changed.subscribe();
    loop {
        changes.mark_unchanged();
        let (needed, over) = {
            let state = cold.units();
            (state.is_needed(number), state.rest(number).is_none())
        };
        if !needed && !over {
            return;
        }
        let _ = changes.changed().await;
    }
}

async fn bring_all(cold: &Arc<Cold>, number: u64) {
    let (mut failures, mut locators) = (0, cold.locators.iter().cycle());
    let mut locator = locators.next();
    loop {
        let rest = cold.units().rest(number);
        let (Some(rest), Some(place)) = (rest, locator) else { break };
        let Err(trouble) = bring(cold, number, place, failures + 1 >= ATTEMPTS).await else { continue };
        let progress = cold.units().rest(number).is_some_and(|now| now.start > rest.start);
        failures = if progress { 1 } else { failures + 1 };
        tracing::warn!(digest = %cold.content.digest(), error = %trouble, failures, "a cold read was interrupted");
        cold.here.metrics.cold_failures.inc();
        if failures >= ATTEMPTS || !cold.origin.backend.health().is_available() {
            // Whether the copies are damaged, or only out of reach, an audit finds out.
            cold.origin.suspects.add(cold.content.digest());
            cold.change(|state| state.fail(number));
            return;
        }
        locator = locators.next();
        tokio::time::sleep(PAUSE * failures).await;
    }
    cold.change(|state| state.end(number));
}

/// Fetches the remaining units in one stream.
async fn bring(cold: &Arc<Cold>, number: u64, locator: &Locator, is_last: bool) -> Result<(), Trouble> {
    if let Some(content) = content_in_units(cold, locator, is_last).await? {
        let Some(units) = cold.units().rest(number) else { return Ok(()) };
        return stream(cold, number, &content, locator, units).await;
    }
    // Everything is read, but only once for all readers.
    let _alone = cold.whole.lock().await;
    if cold.change(|state| state.skip_what_is_here(number)) {
        return Ok(());
    }
    let (digest, size_bytes) = (cold.content.digest(), cold.content.length());
    tracing::warn!(%digest, size_bytes, "the roots of the content's units are unavailable, so all of it is read");
    stream(cold, number, &cold.content, locator, 0..cold.content.units()).await
}

/// The content with data to verify its parts; `None` if no part can be verified alone. It waits for a list of roots
/// that may become available, except in the last attempt, which does without.
async fn content_in_units(cold: &Arc<Cold>, locator: &Locator, is_last: bool) -> Result<Option<Content>, Trouble> {
    let content = &cold.content;
    if content.length() <= UNIT || content.has_proof() {
        return Ok(Some(content.clone()));
    }
    let asking = || async {
        let _permit = cold.permit().await?;
        if let Some(rooted) = lost_roots::from_address(&cold.here, &cold.origin, content, locator).await? {
            return Ok(Some(rooted));
        }
        let reading = lost_roots::from_placed_list(&cold.here, &cold.origin, content);
        match tokio::time::timeout(cold.origin.settings.list_patience, reading).await {
            Err(_) => Ok(None),
            Ok(Err(_)) if is_last => Ok(None),
            Ok(rooted) => Ok(rooted?),
        }
    };
    cold.rooted.get_or_try_init(asking).await.cloned()
}

async fn stream(
    cold: &Arc<Cold>,
    number: u64,
    content: &Content,
    locator: &Locator,
    units: Range<u64>,
) -> Result<(), Trouble> {
    let permit = Arc::new(cold.permit().await?);
    let bytes = cold.bytes(&units);
    let (mut position, mut reached, mut begun) = (bytes.start, units.start, bytes.start);
    let in_units = content.has_proof();
    // Bytes once verified against both need only the hashes now. The digest is checked before the file is published.
    let backend = if in_units && cold.proven { &cold.origin.verified_by_units } else { &cold.origin.verified };
    let stream = backend.get(content, locator, bytes.clone()).await?;
    let _forgets = Forget(&cold.passing);
    let writes = stream.map(|piece| {
        let offset = begun;
        if let Ok(piece) = &piece {
            begun += piece.len() as u64;
            cold.here.metrics.cold_bytes.inc_by(piece.len() as u64);
            // Without roots nothing is verified before the end.
            if in_units {
                cold.passing.keep(offset, piece.clone());
                let before = if begun == bytes.end { units.end } else { begun / UNIT };
                cold.change(|state| state.set_verified(number, before));
            }
        }
        write(Arc::clone(cold), piece, offset, Arc::clone(&permit))
    });
    // The next piece arrives while this one is written.
    let mut writes = std::pin::pin!(writes.buffered(WRITES));
    while let Some(length) = writes.next().await.transpose()? {
        position += length;
        if in_units && position < bytes.end {
            let before = std::mem::replace(&mut reached, position / UNIT);
            record_written(cold, number, before..reached);
        }
    }
    if position != bytes.end {
        return Err(BackendError::Corrupt { start: position, end: bytes.end }.into());
    }
    record_written(cold, number, reached..units.end);
    if in_units {
        let last = units.end.saturating_sub(passing::KEPT as u64).max(units.start)..units.end;
        let _ = tokio::time::timeout(LINGER, until_unwanted(cold, &last)).await;
    }
    Ok(())
}

/// Returns when no reader will still come to these units.
async fn until_unwanted(cold: &Arc<Cold>, units: &Range<u64>) {
    let mut changes = cold.changed.subscribe();
    loop {
        changes.mark_unchanged();
        if !cold.units().is_wanted(units) {
            return;
        }
        let _ = changes.changed().await;
    }
}

/// Clears the pieces in memory when the fetch releases its permit.
struct Forget<'a>(&'a Passing);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.forget();
    }
}

/// Writes a piece on a thread that keeps the permit, since readers that leave do not stop it.
async fn write(
    cold: Arc<Cold>,
    piece: Result<Bytes, BackendError>,
    offset: u64,
    permit: Arc<OwnedSemaphorePermit>,
) -> Result<u64, Trouble> {
    let piece = piece?;
    let writing = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        cold.staged.write_at(&piece, offset)?;
        Ok(piece.len() as u64)
    });
    writing.await.map_err(|_| Trouble::Panicked)?
}

impl Cold {
    /// True if no part of it could be verified alone.
    fn is_without_roots(&self) -> bool {
        let known = self.content.length() <= UNIT || self.content.has_proof();
        !known && !matches!(self.rooted.get(), Some(Some(_)))
    }

    /// A permit for a fetch, since each takes a few MiB of memory.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, Trouble> {
        Arc::clone(&self.origin.permits).acquire_owned().await.map_err(|_| Trouble::Panicked)
    }
}

fn record_written(cold: &Arc<Cold>, number: u64, units: Range<u64>) {
    if cold.change(|state| state.bring(number, units)) {
        let publishing = Publishing(Arc::clone(cold));
        cold.here.tasks.spawn(async move {
            let cold = &publishing.0;
            if let Err(error) = publish(cold).await {
                tracing::warn!(digest = %cold.content.digest(), %error, "content read cold is not kept locally");
            }
        });
    }
}

/// However publishing ends, its waiters are told.
struct Publishing(Arc<Cold>);

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.origin.reads.forget(self.0.content.digest());
        self.0.change(Units::end_publishing);
    }
}

/// Publishes complete content as the local file. All of it is read and verified once more: units that came at different
/// times make up the blob only if its digest matches.
async fn publish(cold: &Arc<Cold>) -> Result<(), Error> {
    let task = Arc::clone(cold);
    if !tokio::task::spawn_blocking(move || task.staged.is(task.content.digest())).await?? {
        return Err(Error::Internal("content that was read cold does not match its digest"));
    }
    let here = &cold.here;
    let lock = here.locks.lock(cold.content.digest()).await;
    if !here.catalog.is_referenced(cold.content.digest())? {
        return Ok(());
    }
    let task = Arc::clone(cold);
    here.blocking_with(lock, move |_| task.staged.publish(task.content.digest())).await?;
    if cold.is_without_roots() {
        // The next cold read needs these roots.
        let (digest, size) = (cold.content.digest(), cold.content.length());
        here.keep_unit_roots(digest, size, &CancellationToken::new()).await?;
    }
    Ok(())
}
