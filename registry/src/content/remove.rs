//! Removes files of unreferenced content.

use super::{DigestLock, Error, KeptFiles, LocalContent};
use crate::catalog::CatalogState;
use crate::oci::Digest;

impl LocalContent {
    /// Removes the files of content that lost its last reference, and counts them. The sweep retries failures.
    pub(crate) async fn remove_orphans(&self, orphaned: Vec<Digest>) -> u64 {
        let mut removed = 0;
        for digest in orphaned {
            match self.remove_if_unreferenced(&digest).await {
                Ok(true) => removed += 1,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%digest, %error, "could not remove unreferenced content; the sweep will");
                }
            }
        }
        removed
    }

    /// Removes the file of `digest` unless it is referenced, which is checked under the digest's lock.
    pub(crate) async fn remove_if_unreferenced(&self, digest: &Digest) -> Result<bool, Error> {
        let guard = self.locks.lock(digest).await;
        self.remove_unreferenced(guard, digest).await
    }

    /// Like [`LocalContent::remove_if_unreferenced`], under the caller's lock. It does nothing while the catalog cannot
    /// be written: facts in flight when it failed may be in force after the next start, and need the file.
    pub(crate) async fn remove_unreferenced(&self, lock: DigestLock, digest: &Digest) -> Result<bool, Error> {
        if self.catalog.state() != CatalogState::Ready {
            return Err(Error::Unavailable);
        }
        // In this order: a backup needs only content that was referenced when it began.
        if self.catalog.is_referenced(digest)? || self.kept.is_asked_for() {
            return Ok(false);
        }
        let digest = digest.clone();
        self.blocking_with(lock, move |store| store.remove(&digest)).await
    }

    /// Keeps all files of content until the guard is dropped: none is swept or evicted meanwhile.
    pub fn keep_files(&self) -> KeptFiles {
        self.kept.keep()
    }
}
