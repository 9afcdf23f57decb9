//! Beyond the contract: how an interrupted put resumes, and the files left in the directory.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use content_store::SYNC_STEP;

use super::*;
use crate::testing::{Watched, read, sample};
use crate::{BytesSource, ProgressInMemory, Put};

fn open(directory: &Path) -> FsBackend {
    FsBackend::open(FsBackendConfig { directory: directory.to_path_buf(), label: String::new() }).unwrap()
}

async fn break_off(backend: &FsBackend, source: &BytesSource, offset: u64) {
    let watched = Watched::new(source.clone()).stalling_at(offset);
    let resume = ProgressInMemory::default();
    tokio::select! {
        () = watched.stalled() => {}
        _ = backend.put(Arc::new(watched.clone()), Put::IfAbsent, &resume) => panic!("it has not got its bytes"),
    }
}

fn sessions(directory: &Path) -> usize {
    fs::read_dir(directory.join("uploads")).unwrap().count()
}

#[tokio::test]
async fn what_was_synced_is_not_taken_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let source = sample(SYNC_STEP + 3_000_000, 1);
    break_off(&open(directory.path()), &source, SYNC_STEP + 2_000_000).await;
    let watched = Watched::new(source);
    open(directory.path()).put(Arc::new(watched.clone()), Put::IfAbsent, &ProgressInMemory::default()).await.unwrap();
    assert_eq!(watched.taken(), 3_000_000);
    assert_eq!(sessions(directory.path()), 0);
}

#[tokio::test]
async fn a_check_removes_what_a_second_put_has_left() {
    let directory = tempfile::tempdir().unwrap();
    let source = sample(3_000_000, 1);
    let backend = open(directory.path());
    let stalled = Watched::new(source.clone()).stalling_at(2_000_000);
    let resume = ProgressInMemory::default();
    let mut first = backend.put(Arc::new(stalled.clone()), Put::IfAbsent, &resume);
    tokio::select! { () = stalled.stalled() => {}, _ = &mut first => panic!("it has not got its bytes") }
    break_off(&backend, &source, 2_000_000).await;
    assert_eq!(sessions(directory.path()), 2);
    drop(first);
    open(directory.path()).check().await.unwrap();
    assert_eq!(sessions(directory.path()), 1);
    // The one that is left is taken up or goes with the content.
    let locator = backend.locate(Arc::new(source.clone())).await.unwrap().unwrap();
    backend.delete(source.content(), &locator).await.unwrap();
    assert_eq!(sessions(directory.path()), 0);
}

#[tokio::test]
async fn a_file_of_another_length_is_not_there_and_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let source = sample(10_000, 1);
    let backend = open(directory.path());
    let locator = backend.put(Arc::new(source.clone()), Put::IfAbsent, &ProgressInMemory::default()).await.unwrap();
    let place = source.content().digest().encoded().to_owned();
    let file = directory.path().join("blobs/sha256").join(&place[..2]).join(&place);
    fs::remove_file(&file).unwrap();
    fs::write(&file, b"short").unwrap();
    assert!(matches!(backend.stat(source.content(), &locator).await, Err(BackendError::NotFound)));
    let got = read(&backend, &source, &locator, 0..5).await;
    assert!(matches!(got, Err(BackendError::Corrupt { .. })), "{got:?}");
    backend.put(Arc::new(source.clone()), Put::IfAbsent, &ProgressInMemory::default()).await.unwrap();
    assert_eq!(read(&backend, &source, &locator, 0..10_000).await.unwrap(), source.read_all());
}
