//! One lock per digest, taken while content of that digest enters or leaves the store.
//!
//! Publishing a file and committing its reference are two steps. Checking that a file is unreferenced and removing it
//! are two more. Each pair runs under the digest's lock, so collection never removes a file whose reference a push is
//! about to commit.

use std::hash::BuildHasher;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::oci::Digest;

/// Number of locks. Two digests may share one. That costs a wait, never correctness, since no task takes two.
const STRIPES: usize = 1024;

/// Permission to let content of one digest enter or leave the store.
pub(crate) type DigestLock = OwnedMutexGuard<()>;

/// The locks; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct DigestLocks {
    stripes: Arc<[Arc<Mutex<()>>]>,
    hasher: std::hash::RandomState,
}

impl DigestLocks {
    pub(crate) fn new() -> Self {
        DigestLocks {
            stripes: (0..STRIPES).map(|_| Arc::new(Mutex::new(()))).collect(),
            hasher: std::hash::RandomState::new(),
        }
    }

    /// Waits for the digest's lock. The caller must not have another of these locks.
    pub(crate) async fn lock(&self, digest: &Digest) -> DigestLock {
        self.stripe(digest).lock_owned().await
    }

    /// The digest's lock, if it is free.
    pub(crate) fn try_lock(&self, digest: &Digest) -> Option<DigestLock> {
        self.stripe(digest).try_lock_owned().ok()
    }

    fn stripe(&self, digest: &Digest) -> Arc<Mutex<()>> {
        let stripe = usize::try_from(self.hasher.hash_one(digest) % STRIPES as u64).unwrap_or(0);
        Arc::clone(&self.stripes[stripe])
    }
}
