//! One lock per digest, held while content of that name enters or leaves the store.
//!
//! Publishing a file and recording who holds it are two steps, and so are seeing that nobody holds a file and removing it.
//! Both pairs run under the digest's lock, so collection can never remove what a push is about to record.

use std::hash::BuildHasher;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::oci::Digest;

/// How many locks there are. Two digests may share one: that costs a wait, never correctness, since no one holds two.
const STRIPES: usize = 1024;

/// The right to let content of a digest enter or leave the store.
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

    /// Waits for the digest's lock. Never call it while holding another one of these.
    pub(crate) async fn lock(&self, digest: &Digest) -> DigestLock {
        self.stripe(digest).lock_owned().await
    }

    /// The digest's lock, if nobody has it.
    pub(crate) fn try_lock(&self, digest: &Digest) -> Option<DigestLock> {
        self.stripe(digest).try_lock_owned().ok()
    }

    fn stripe(&self, digest: &Digest) -> Arc<Mutex<()>> {
        let stripe = usize::try_from(self.hasher.hash_one(digest) % STRIPES as u64).unwrap_or(0);
        Arc::clone(&self.stripes[stripe])
    }
}
