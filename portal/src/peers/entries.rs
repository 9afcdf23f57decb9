//! Entries of peers.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use skynet_formats::entry::{EntryId, SignedEntry, supersedes};
use tokio::time::{Instant, timeout_at};

use super::Peers;
use super::client::Peer;
use super::error::PeerError;

impl Peers {
    /// The best entry of an id among all peers. A peer that does not answer in time counts as having none, and the next
    /// readers do not wait for it.
    pub(crate) async fn entry(&self, id: EntryId) -> Option<SignedEntry> {
        let timing = &self.0.timing;
        // The semaphore is never closed; the reader's own timeout ends the wait.
        let _permit = self.0.entry_lookups.acquire().await.ok()?;
        let (silent, mut waited_for): (Vec<_>, Vec<_>) = self.0.peers.iter().partition(|peer| peer.is_silent());
        for peer in silent {
            self.probe(peer, id);
        }
        let mut answers: FuturesUnordered<_> =
            waited_for.iter().copied().map(|peer| async move { (peer, self.ask_for_entry(peer, id).await) }).collect();
        let last = Instant::now() + timing.entry;
        let (mut until, mut best): (_, Option<SignedEntry>) = (last, None);
        while let Ok(Some((peer, answer))) = timeout_at(until, answers.next()).await {
            waited_for.retain(|other| !Arc::ptr_eq(other, peer));
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
        if until == last {
            // It had all of the time; after the entry of another peer it has less.
            for peer in waited_for {
                peer.set_silent(true);
            }
        }
        best
    }

    /// Asks a peer. One that fails late, as where nothing answers a connection, is as bad as a silent one.
    async fn ask_for_entry(&self, peer: &Peer, id: EntryId) -> Result<SignedEntry, PeerError> {
        let late = Instant::now() + self.0.timing.more_entries;
        let answer = peer.entry(id).await;
        let is_answer = matches!(answer, Ok(_) | Err(PeerError::Absent));
        peer.set_silent(!is_answer && Instant::now() >= late);
        answer
    }

    /// Finds out in the background whether a silent peer answers again.
    fn probe(&self, peer: &Arc<Peer>, id: EntryId) {
        if !peer.begin_probe() {
            return;
        }
        let (peers, peer) = (self.clone(), Arc::clone(peer));
        tokio::spawn(async move {
            // If this ends early, the peer stays silent.
            let _ = timeout_at(Instant::now() + peers.0.timing.entry, peers.ask_for_entry(&peer, id)).await;
            peer.probe_ended();
        });
    }

    /// Passes an entry that was stored here on to all peers, in the background.
    pub(crate) fn spread(&self, entry: &SignedEntry) {
        for outbox in &self.0.outboxes {
            Arc::clone(outbox).offer(entry.clone());
        }
    }
}
