//! Content whose copies are in doubt: a read of them failed, or an audit. `placement` audits it until that is settled.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::oci::Digest;

/// Most pieces of content in doubt at once, each in about 200 bytes. The others are found by the next audit.
const MOST: usize = 1024;

/// The content in doubt, in memory only: a start knows none, and asks for a sample.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    all: Mutex<HashMap<Digest, Suspect>>,
    pub(crate) added: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// Failed audits in a row.
    failures: u32,
    /// When it is audited again.
    due: Instant,
}

impl Suspects {
    /// Adds content, to be audited at once. No effect on content that is in doubt already.
    pub(crate) fn add(&self, digest: &Digest) {
        let mut all = self.lock();
        if all.len() < MOST || all.contains_key(digest) {
            all.entry(digest.clone()).or_insert_with(|| Suspect { failures: 0, due: Instant::now() });
        }
        drop(all);
        self.added.notify_one();
    }

    /// The content to audit next, with its failures in a row, and the time for that.
    pub(crate) fn next(&self) -> Option<(Digest, u32, Instant)> {
        let all = self.lock();
        let first = all.iter().min_by_key(|(_, suspect)| suspect.due)?;
        Some((first.0.clone(), first.1.failures, first.1.due))
    }

    /// Content whose copies are not in doubt any more: they are there, or known to be missing.
    pub(crate) fn settle(&self, digest: &Digest) {
        self.lock().remove(digest);
    }

    /// It stays in doubt after this many failures in a row. The next audit follows after this time.
    pub(crate) fn again_in(&self, digest: &Digest, failures: u32, wait: Duration) {
        if let Some(suspect) = self.lock().get_mut(digest) {
            *suspect = Suspect { failures, due: Instant::now() + wait };
        }
    }

    /// Number of pieces of content in doubt.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Suspect>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    #[tokio::test]
    async fn what_is_in_doubt_stays_so_until_it_is_settled() {
        let (suspects, one) = (Suspects::default(), Digest::of(Algorithm::Sha256, b"1"));
        suspects.add(&one);
        suspects.again_in(&one, 1, Duration::from_secs(9));
        suspects.add(&one);
        let (digest, failures, due) = suspects.next().unwrap();
        assert!(digest == one && failures == 1 && due > Instant::now(), "it is not audited at once again");
        suspects.settle(&one);
        assert_eq!((suspects.count(), suspects.next()), (0, None));
        for number in 0..2 * MOST {
            suspects.add(&Digest::of(Algorithm::Sha256, &number.to_le_bytes()));
        }
        assert_eq!(suspects.count(), MOST);
    }
}
