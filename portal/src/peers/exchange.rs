//! The slow comparison of all local entries with those of the peers, to find entries that either side missed.
//!
//! Each portal compares its own entries. An entry that only a peer has arrives with the peer's own exchange.

use std::collections::HashSet;
use std::sync::Arc;

use skynet_formats::entry::{EntryId, SignedEntry, supersedes};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Peers;
use super::error::PeerError;
use crate::entries::EntryStoreError;

/// The remaining work after comparing one entry with one peer.
enum Difference {
    None,
    /// The local entry is newer, or the only one.
    Ours(SignedEntry),
    Theirs(SignedEntry),
}

impl Peers {
    /// Compares all entries in an endless loop.
    pub(crate) async fn exchange_forever(&self) {
        if self.is_empty() {
            return std::future::pending().await;
        }
        sleep(self.0.timing.first_exchange).await;
        loop {
            self.exchange().await;
            sleep(self.0.timing.between_exchanges).await;
        }
    }

    /// Compares all entries once.
    pub(super) async fn exchange(&self) {
        for shard in 0..=u8::MAX {
            let entries = Arc::clone(&self.0.entries);
            match spawn_blocking(move || entries.ids(shard)).await.map_err(EntryStoreError::from).flatten() {
                Ok(ids) => self.exchange_some(ids).await,
                Err(error) => tracing::warn!(%error, "entries cannot be compared with those of peers"),
            }
        }
    }

    /// Compares these entries. A peer that fails is skipped for the rest of them.
    async fn exchange_some(&self, ids: Vec<EntryId>) {
        let mut failed = HashSet::new();
        for id in ids {
            for at in 0..self.0.peers.len() {
                if failed.contains(&at) {
                    continue;
                }
                sleep(self.0.timing.exchange_step).await;
                if let Err(error) = self.exchange_one(at, id).await {
                    let peer = self.0.peers[at].url();
                    if error.is_suspicious() {
                        tracing::warn!(peer, entry.id = %id, %error, "a peer misbehaves");
                    } else {
                        tracing::debug!(peer, entry.id = %id, %error, "a peer's entries cannot be compared");
                    }
                    failed.insert(at);
                }
            }
        }
    }

    async fn exchange_one(&self, peer: usize, id: EntryId) -> Result<(), PeerError> {
        match self.difference(peer, id).await? {
            Difference::None => {}
            Difference::Ours(entry) => Arc::clone(&self.0.outboxes[peer]).offer(entry),
            Difference::Theirs(entry) => self.0.outboxes[peer].take_over(entry).await,
        }
        Ok(())
    }

    async fn difference(&self, peer: usize, id: EntryId) -> Result<Difference, PeerError> {
        let entries = Arc::clone(&self.0.entries);
        let ours = match spawn_blocking(move || entries.get(&id)).await? {
            Ok(Some(ours)) => ours,
            Ok(None) => return Ok(Difference::None),
            Err(error) => {
                tracing::warn!(entry.id = %id, %error, "an entry cannot be read");
                return Ok(Difference::None);
            }
        };
        let theirs = match self.0.peers[peer].entry(id).await {
            Ok(theirs) => theirs,
            Err(PeerError::Absent) => return Ok(Difference::Ours(ours)),
            Err(error) => return Err(error),
        };
        Ok(if supersedes(ours.entry(), theirs.entry()).is_ok() {
            Difference::Theirs(theirs)
        } else if supersedes(theirs.entry(), ours.entry()).is_ok() {
            Difference::Ours(ours)
        } else {
            Difference::None
        })
    }
}
