//! Removal at the backend of what nobody holds any more: asked for again and again until it is answered.
//!
//! A pending unpin is closed only some time after the last request for it. Until then a request may still be on its way,
//! and content that is pushed again meets the pending one: so it is uploaded again, and read back late.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use storage_backends::backend::{BackendError, Content};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Remote;
use super::queue::pause;
use crate::catalog::Placement;
use crate::catalog::command::Command;
use crate::catalog::fact::Locator;
use crate::oci::Digest;
use crate::service::{Error, Registry};

/// Pending unpins looked at in one step.
const PAGE: usize = 256;
/// Pending unpins that are under way at once; others wait until some are closed.
const UNDER_WAY: usize = 4096;
/// Between two rounds, at least and at most.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
const MOST_PAUSE: Duration = Duration::from_mins(1);

/// How far a pending unpin is; its sequence names it.
#[derive(Clone, Copy, Debug)]
enum Progress {
    /// The backend answered that it is gone or will go.
    Answered(Instant),
    /// It did not, so many times.
    Failed(u32, Instant),
}

/// What came of one request.
enum Asked {
    Answered,
    Failed(BackendError),
    /// It is not to be removed now: it is held again, or on its way there.
    NotNow,
}

/// Removes until `stop`.
pub(super) async fn run(registry: &Arc<Registry>, remote: &Arc<Remote>, stop: &CancellationToken) {
    let Some(mut changes) = registry.catalog().placement_changes() else { return };
    let mut unpins = Unpins { registry, remote, under_way: HashMap::new() };
    while !stop.is_cancelled() {
        changes.mark_unchanged();
        let began = Instant::now();
        let round = tokio::select! {
            () = stop.cancelled() => return,
            round = unpins.round() => round,
        };
        let due = round.unwrap_or_else(|error| {
            tracing::debug!(%error, "pending unpins cannot be read now");
            began + LEAST_PAUSE
        });
        let soonest = began + LEAST_PAUSE.min(remote.settings.first_pause);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(soonest) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = changes.changed() => {}
            () = tokio::time::sleep_until(due.min(began + MOST_PAUSE)) => {}
        }
    }
}

struct Unpins<'a> {
    registry: &'a Arc<Registry>,
    remote: &'a Arc<Remote>,
    under_way: HashMap<u64, Progress>,
}

impl Unpins<'_> {
    /// Looks at all that is pending; says when the next thing is due.
    async fn round(&mut self) -> Result<Instant, Error> {
        let mut seen = HashMap::new();
        let mut after: Option<(Digest, Locator)> = None;
        loop {
            let from = after.take();
            let page = self.registry.reading(move |catalog| Ok(catalog.pending_unpins(from.as_ref(), PAGE)?)).await?;
            after = page.items.last().map(|(digest, placement)| (digest.clone(), placement.locator.clone()));
            self.deal_with(page.items, &mut seen).await?;
            if !page.more {
                break;
            }
        }
        // What is closed is not listed any more.
        self.under_way = seen;
        let due = self.under_way.values().map(|progress| match progress {
            Progress::Answered(at) => *at + self.remote.settings.settle,
            Progress::Failed(_, next) => *next,
        });
        Ok(due.min().unwrap_or_else(|| Instant::now() + MOST_PAUSE))
    }

    async fn deal_with(&self, items: Vec<(Digest, Placement)>, seen: &mut HashMap<u64, Progress>) -> Result<(), Error> {
        let (now, settle) = (Instant::now(), self.remote.settings.settle);
        let (mut ask, mut close) = (Vec::new(), Vec::new());
        for (digest, placement) in items.into_iter().filter(|(_, placement)| self.is_ours(&placement.locator)) {
            match self.under_way.get(&placement.sequence) {
                Some(Progress::Answered(at)) if *at + settle <= now => close.push((digest, placement)),
                Some(Progress::Failed(_, next)) if *next <= now => ask.push((digest, placement)),
                Some(progress) => drop(seen.insert(placement.sequence, *progress)),
                None if self.under_way.len().max(seen.len() + ask.len()) < UNDER_WAY => ask.push((digest, placement)),
                None => {}
            }
        }
        for (digest, placement) in close {
            self.close(digest, &placement).await?;
        }
        let mut asked = stream::iter(ask.into_iter().map(|(digest, placement)| async move {
            let outcome = self.ask(&digest, &placement).await;
            (digest, placement, outcome)
        }))
        .buffer_unordered(self.remote.settings.transfers);
        while let Some((digest, placement, outcome)) = asked.next().await {
            match outcome? {
                Asked::NotNow => {}
                Asked::Answered if settle.is_zero() => self.close(digest, &placement).await?,
                Asked::Answered => drop(seen.insert(placement.sequence, Progress::Answered(Instant::now()))),
                Asked::Failed(error) => {
                    let failed = self.failed(&digest, &placement, &error);
                    seen.insert(placement.sequence, failed);
                }
            }
        }
        Ok(())
    }

    fn is_ours(&self, locator: &Locator) -> bool {
        locator.kind == self.remote.backend.kind() && locator.profile == self.remote.backend.profile()
    }

    async fn ask(&self, digest: &Digest, placement: &Placement) -> Result<Asked, Error> {
        // An upload of the same content may take hours; it ends in a `placed` that takes the place of this.
        let Some(_move) = self.remote.moves.try_lock(digest) else { return Ok(Asked::NotNow) };
        let catalog = self.registry.catalog();
        let stands = catalog.placements(digest)?.iter().any(|found| found.sequence == placement.sequence);
        if !stands || (catalog.is_lacking(digest)?.is_some() && catalog.is_public(digest)?) {
            return Ok(Asked::NotNow);
        }
        let Ok(content) = Content::new(digest.clone(), placement.locator.stored_size) else {
            return Ok(Asked::NotNow);
        };
        Ok(match self.remote.backend.delete(&content, &placement.locator).await {
            Ok(_) | Err(BackendError::NotFound) => Asked::Answered,
            Err(error) => Asked::Failed(error),
        })
    }

    fn failed(&self, digest: &Digest, placement: &Placement, error: &BackendError) -> Progress {
        let settings = &self.remote.settings;
        let failures = match self.under_way.get(&placement.sequence) {
            Some(Progress::Failed(failures, _)) => failures.saturating_add(1),
            _ => 1,
        };
        let wait = match error.is_retryable() {
            true => pause(failures, settings.first_pause, settings.longest_pause),
            false => settings.longest_pause,
        };
        tracing::warn!(%digest, %error, again_in_ms = wait.as_millis() as u64, "the backend did not remove content");
        self.registry.metrics.unpin_failures.inc();
        Progress::Failed(failures, Instant::now() + wait)
    }

    async fn close(&self, digest: Digest, placement: &Placement) -> Result<(), Error> {
        let (locator, standing) = (placement.locator.clone(), placement.sequence);
        self.registry.catalog().commit(vec![Command::RecordUnplaced { digest, locator, standing }]).await?;
        self.registry.metrics.unpinned.inc();
        Ok(())
    }
}
