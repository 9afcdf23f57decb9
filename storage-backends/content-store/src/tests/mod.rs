//! Tests of the whole store on a real directory.

mod content;
mod failures;
mod kill;
mod model;
mod staged;
mod uploads;

use std::path::PathBuf;

use super::{ContentStore, FinishedUpload, Mark, Upload, UploadId, Walk};
use crate::digest::{Algorithm, Digest};

/// A store in a directory of its own, which lives as long.
struct Fixture {
    directory: tempfile::TempDir,
    store: ContentStore,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = ContentStore::open(directory.path()).unwrap();
        Fixture { directory, store }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    fn content_path(&self, digest: &Digest) -> PathBuf {
        self.path(&format!("blobs/{}/{}/{}", digest.algorithm_name(), &digest.encoded()[..2], digest.encoded()))
    }

    fn data_path(&self) -> PathBuf {
        self.path(&format!("uploads/{}/data", id()))
    }

    fn state_path(&self) -> PathBuf {
        self.path(&format!("uploads/{}/state", id()))
    }

    fn create(&self, algorithm: Algorithm) -> Upload {
        self.store.create_upload(&id(), "library/a", Some(algorithm)).unwrap()
    }

    /// As after the end of the process: by a store that knows nothing of what was before.
    fn reopen(&self) -> Option<Upload> {
        ContentStore::open(self.directory.path()).unwrap().open_upload(&id()).unwrap()
    }

    /// Names in a directory, sorted.
    fn names(&self, below: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(below)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn id() -> UploadId {
    UploadId::from_random([0xa5; 16])
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Bytes without a short period.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

#[test]
fn everything_can_be_handed_to_a_blocking_thread() {
    fn check<T: Send + 'static>() {}
    check::<ContentStore>();
    check::<Upload>();
    check::<Mark>();
    check::<FinishedUpload>();
    check::<Walk>();
}
