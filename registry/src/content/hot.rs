//! A cache of small content, verified a short while ago, so that a repeated pull needs no file.
//!
//! Content never changes under its digest, so nothing here is stale. But the caller must have asked the catalog whether
//! the repository still has it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::oci::Digest;

/// Most bytes in the cache, including [`OVERHEAD`] for each entry.
const CAPACITY: usize = 16 * 1024 * 1024;
/// Largest content in the cache. Larger content would displace too many others.
const LARGEST: usize = CAPACITY / 64;
/// Approximate bytes per entry, besides its content.
const OVERHEAD: usize = 256;

/// The content in two generations. When the young one is full it becomes the old one, and the previous old one is
/// dropped with all content not requested since.
#[derive(Debug, Default)]
pub(crate) struct HotContent(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Digest, Bytes>,
    young_size: usize,
    old: HashMap<Digest, Bytes>,
}

impl HotContent {
    pub(crate) fn get(&self, digest: &Digest) -> Option<Bytes> {
        let mut generations = self.lock();
        if let Some(bytes) = generations.young.get(digest) {
            return Some(bytes.clone());
        }
        let (digest, bytes) = generations.old.remove_entry(digest)?;
        generations.insert(digest, bytes.clone());
        Some(bytes)
    }

    /// Adds content that was verified against its digest.
    pub(crate) fn keep(&self, digest: &Digest, bytes: &Bytes) {
        if bytes.len() <= LARGEST {
            self.lock().insert(digest.clone(), bytes.clone());
        }
    }

    /// Removes content whose file is damaged or gone, so that the next read uses the disk.
    pub(crate) fn forget(&self, digest: &Digest) {
        let mut generations = self.lock();
        generations.old.remove(digest);
        if let Some(bytes) = generations.young.remove(digest) {
            generations.young_size -= bytes.len() + OVERHEAD;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn insert(&mut self, digest: Digest, bytes: Bytes) {
        let size = bytes.len() + OVERHEAD;
        if self.young_size + size > CAPACITY / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_size = 0;
        }
        if self.young.insert(digest, bytes).is_none() {
            self.young_size += size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    fn content(number: usize, size: usize) -> (Digest, Bytes) {
        let mut bytes = vec![0; size];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        (Digest::of(Algorithm::Sha256, &bytes), bytes.into())
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let hot = HotContent::default();
        let (asked, expected) = content(0, 4096);
        let (idle, bytes) = content(1, 4096);
        hot.keep(&asked, &expected);
        hot.keep(&idle, &bytes);
        for number in 2..2 * CAPACITY / 4096 {
            let (digest, bytes) = content(number, 4096);
            hot.keep(&digest, &bytes);
            assert_eq!(hot.get(&asked).as_ref(), Some(&expected), "after {number}");
        }
        assert_eq!(hot.get(&idle), None);
        let generations = hot.lock();
        let held =
            generations.young.values().chain(generations.old.values()).map(|b| b.len() + OVERHEAD).sum::<usize>();
        assert!(held <= CAPACITY, "{held}");
    }

    #[test]
    fn content_kept_twice_counts_once_and_is_forgotten_at_once() {
        let hot = HotContent::default();
        let (digest, bytes) = content(7, 100);
        hot.keep(&digest, &bytes);
        hot.keep(&digest, &bytes);
        assert_eq!(hot.lock().young_size, 100 + OVERHEAD);
        hot.forget(&digest);
        assert_eq!((hot.get(&digest), hot.lock().young_size), (None, 0));
        let (large, bytes) = content(8, LARGEST + 1);
        hot.keep(&large, &bytes);
        assert_eq!(hot.get(&large), None);
    }
}
