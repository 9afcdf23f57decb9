//! Entries of peers.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use skynet_formats::entry::{EntryId, SignedEntry, supersedes};
use tokio::time::{Instant, timeout_at};

use super::Peers;
use super::error::PeerError;

impl Peers {
    /// The best entry of an id among all peers. A peer that does not answer in time counts as having none.
    pub(crate) async fn entry(&self, id: EntryId) -> Option<SignedEntry> {
        let timing = &self.0.timing;
        // The semaphore is never closed; the reader's own timeout ends the wait.
        let _permit = self.0.entry_lookups.acquire().await.ok()?;
        let mut until = Instant::now() + timing.entry;
        let mut answers: FuturesUnordered<_> =
            self.0.peers.iter().map(|peer| async move { (peer, peer.entry(id).await) }).collect();
        let mut best: Option<SignedEntry> = None;
        while let Ok(Some((peer, answer))) = timeout_at(until, answers.next()).await {
            match answer {
                Ok(entry) => {
                    until = until.min(Instant::now() + timing.more_entries);
                    if best.as_ref().is_none_or(|best| supersedes(best.entry(), entry.entry()).is_ok()) {
                        best = Some(entry);
                    }
                }
                Err(PeerError::Absent) => {}
                Err(error) if error.is_suspicious() => {
                    tracing::warn!(peer = peer.url(), entry.id = %id, %error, "a peer misbehaves");
                }
                Err(error) => tracing::debug!(peer = peer.url(), entry.id = %id, %error, "a peer gives no entry"),
            }
        }
        best
    }

    /// Passes an entry that was stored here on to all peers, in the background.
    pub(crate) fn spread(&self, entry: &SignedEntry) {
        for outbox in &self.0.outboxes {
            Arc::clone(outbox).offer(entry.clone());
        }
    }
}
