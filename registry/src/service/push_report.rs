//! One line per push for the person watching: what was pushed, how much of it was new, how long it took.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::oci::{Digest, RepositoryName};

/// Repositories remembered at once.
const MAX_REPOSITORIES: usize = 256;
/// New blobs remembered per repository.
const MAX_BLOBS: usize = 2048;
/// A push that has been silent for so long is forgotten.
const FORGET_AFTER: Duration = Duration::from_hours(1);

/// What came into each repository since its last manifest.
#[derive(Debug)]
pub(super) struct PushReports(Mutex<HashMap<RepositoryName, Pending>>);

#[derive(Debug)]
struct Pending {
    began: Instant,
    last: Instant,
    new: HashMap<Digest, u64>,
}

/// The sum of a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PushSum {
    /// Bytes that came over the wire.
    pub(super) new: u64,
    /// Bytes of what was there before.
    pub(super) reused: u64,
    /// From the first session on.
    pub(super) took: Duration,
}

impl PushReports {
    pub(super) fn new() -> Self {
        PushReports(Mutex::new(HashMap::new()))
    }

    /// A session began in the repository.
    pub(super) fn began(&self, repository: &RepositoryName) {
        self.with(repository, |_| {});
    }

    /// A blob's bytes came in.
    pub(super) fn blob(&self, repository: &RepositoryName, digest: &Digest, size: u64) {
        self.with(repository, |pending| {
            if pending.new.len() < MAX_BLOBS {
                pending.new.insert(digest.clone(), size);
            }
        });
    }

    /// A manifest came in: what of its references is new counts for it, and not again for the next one.
    pub(super) fn manifest(&self, repository: &RepositoryName, size: u64, references: &[(Digest, u64)]) -> PushSum {
        let mut sum = PushSum { new: size, ..PushSum::default() };
        self.with(repository, |pending| {
            sum.took = pending.began.elapsed();
            for (digest, size) in references {
                match pending.new.remove(digest) {
                    Some(new) => sum.new += new,
                    None => sum.reused += size,
                }
            }
        });
        sum
    }

    fn with(&self, repository: &RepositoryName, change: impl FnOnce(&mut Pending)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if all.len() >= MAX_REPOSITORIES && !all.contains_key(repository) {
            all.retain(|_, pending| now.duration_since(pending.last) < FORGET_AFTER);
            if all.len() >= MAX_REPOSITORIES {
                all.clear();
            }
        }
        let fresh = || Pending { began: now, last: now, new: HashMap::new() };
        let pending = all.entry(repository.clone()).or_insert_with(fresh);
        if pending.new.is_empty() && now.duration_since(pending.last) > Duration::from_mins(1) {
            pending.began = now;
        }
        pending.last = now;
        change(pending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_bytes_count_once() {
        let reports = PushReports::new();
        let repository: RepositoryName = "a".parse().unwrap();
        let digest = |n: char| -> Digest { format!("sha256:{}", n.to_string().repeat(64)).parse().unwrap() };
        reports.blob(&repository, &digest('1'), 100);
        let references = [(digest('1'), 100), (digest('2'), 7)];
        let first = reports.manifest(&repository, 3, &references);
        assert_eq!((first.new, first.reused), (103, 7));
        let second = reports.manifest(&repository, 3, &references);
        assert_eq!((second.new, second.reused), (3, 107));
    }
}
