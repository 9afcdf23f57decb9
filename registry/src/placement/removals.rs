//! Removals in flight to the backend, so that a task that stores the same content can stop them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::oci::Digest;

/// The removals in flight. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Removals(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    under_way: Mutex<HashMap<Digest, UnderWay>>,
    ended: watch::Sender<()>,
}

/// The removals of one piece of content.
#[derive(Debug, Default)]
struct UnderWay {
    stop: CancellationToken,
    /// Numbers of the endpoints asked.
    endpoints: Vec<usize>,
}

/// One request at one endpoint. It ends when this is dropped, so the code that sends it must be dropped first.
#[derive(Debug)]
pub(super) struct Removal {
    all: Removals,
    digest: Digest,
    endpoint: usize,
    stop: CancellationToken,
}

impl Removals {
    /// Begins a removal. `None` while another one is in flight there, since its outcome must be known first. The caller
    /// must have the digest's lock of [`super::Remote::moves`], but only for this call.
    pub(super) fn begin(&self, digest: &Digest, endpoint: usize) -> Option<Removal> {
        let mut under_way = self.lock();
        let entry = under_way.entry(digest.clone()).or_default();
        if entry.endpoints.contains(&endpoint) || entry.stop.is_cancelled() {
            return None;
        }
        entry.endpoints.push(endpoint);
        let stop = entry.stop.clone();
        Some(Removal { all: self.clone(), digest: digest.clone(), endpoint, stop })
    }

    /// Stops the removals of a digest, and returns when they have ended. The caller must keep the digest's lock of
    /// [`super::Remote::moves`], so that no other removal begins.
    pub(super) async fn break_off(&self, digest: &Digest) {
        let mut ended = self.0.ended.subscribe();
        loop {
            ended.mark_unchanged();
            match self.lock().get(digest) {
                Some(under_way) => under_way.stop.cancel(),
                None => return,
            }
            let _ = ended.changed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, UnderWay>> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Removal {
    /// Returns when a task wants to store the content.
    pub(super) async fn broken_off(&self) {
        self.stop.cancelled().await;
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        let mut under_way = self.all.lock();
        if let Some(entry) = under_way.get_mut(&self.digest) {
            entry.endpoints.retain(|endpoint| *endpoint != self.endpoint);
            if entry.endpoints.is_empty() {
                under_way.remove(&self.digest);
            }
        }
        drop(under_way);
        self.all.0.ended.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_stores_waits_until_all_of_them_are_over() {
        let (removals, digest) = (Removals::default(), Digest::of(crate::oci::Algorithm::Sha256, b"x"));
        removals.break_off(&digest).await;
        let (first, second) = (removals.begin(&digest, 0).unwrap(), removals.begin(&digest, 1).unwrap());
        assert!(removals.begin(&digest, 1).is_none(), "there is one already");
        let storing = tokio::spawn({
            let (removals, digest) = (removals.clone(), digest.clone());
            async move { removals.break_off(&digest).await }
        });
        first.broken_off().await;
        second.broken_off().await;
        assert!(removals.begin(&digest, 2).is_none(), "not while it is waited for");
        drop(first);
        tokio::task::yield_now().await;
        assert!(!storing.is_finished());
        drop(second);
        storing.await.unwrap();
        assert!(removals.begin(&digest, 1).is_some() && removals.lock().is_empty());
    }
}
