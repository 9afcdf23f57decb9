//! A failed index is abandoned and rebuilt, and given up after two failed rebuilds.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::super::progress::Progress;
use super::super::rebuild::{RebuildError, on_its_own_thread};
use super::super::{Catalog, CatalogOptions, CatalogState};
use super::histories::wait_until_ready;
use super::{digest, link, open, options, repository};
use crate::catalog::command::CommitError;

/// sled's drop waits for threads that ended after a disk failure, so the writer hung, or the last reader.
#[test]
fn a_failed_index_is_never_closed() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    catalog.commit_blocking(vec![link("a", 1)]).unwrap();
    let failed = Arc::downgrade(&catalog.inner.shared.index().unwrap());
    catalog.mark_damaged();
    wait_until_ready(&catalog);
    assert!(failed.upgrade().is_some(), "the failed index was dropped");
    assert_eq!(catalog.blob(&repository("a"), &digest(1)).unwrap(), Some(1));
}

/// A rebuild had only what a full disk had left.
#[test]
fn space_for_a_rebuild_is_kept_before_it_is_needed_and_again_after_it() {
    let place = tempfile::tempdir().unwrap();
    let options = CatalogOptions { index_ballast_bytes: 4 << 20, index_reserve_bytes: 0, ..options(place.path()) };
    let (catalog, _) = Catalog::open(options).unwrap();
    let bytes = |name: &str| fs::metadata(place.path().join("index").join(name)).map_or(0, |meta| meta.blocks() * 512);
    for number in [1, 2] {
        catalog.commit_blocking(vec![link("a", number)]).unwrap();
        if bytes("ballast") == 0 {
            // This file system cannot reserve blocks.
            return;
        }
        assert!(bytes("ballast") >= 4 << 20, "{} bytes", bytes("ballast"));
        catalog.mark_damaged();
        wait_until_ready(&catalog);
    }
}

/// A broken database was kept when its disk was full, and the next one had no space.
#[test]
fn a_database_that_sled_cannot_write_is_removed() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    catalog.inner.shared.index().unwrap().fail_next.store(true, Ordering::SeqCst);
    catalog.commit_blocking(vec![link("a", 1)]).unwrap();
    wait_until_ready(&catalog);
    let names = fs::read_dir(place.path().join("index")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = names.filter_map(|name| name.into_string().ok()).filter(|name| name != "mark").collect();
    assert_eq!(names, ["2"]);
}

static LOST: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn a_catalog_whose_index_cannot_be_rebuilt_says_why_and_ends() {
    let place = tempfile::tempdir().unwrap();
    let on_index_lost = |why: &str| LOST.lock().unwrap().push(why.to_owned());
    let options = CatalogOptions { on_index_lost, ..options(place.path()) };
    let (catalog, _) = Catalog::open(options).unwrap();
    catalog.commit_blocking(vec![link("a", 1)]).unwrap();
    let index = place.path().join("index");
    fs::rename(&index, place.path().join("elsewhere")).unwrap();
    fs::write(&index, "no directory").unwrap();
    catalog.mark_damaged();
    assert_eq!(catalog.status().rebuilding, Some((0, 0)));
    let began = Instant::now();
    assert!(matches!(catalog.commit_blocking(vec![link("a", 2)]), Err(CommitError::Unavailable)));
    assert!(began.elapsed() < Duration::from_secs(1), "a commit waits for the rebuild");
    while catalog.state() != CatalogState::Closed {
        assert!(began.elapsed() < Duration::from_mins(1), "it tries for ever");
        thread::sleep(Duration::from_millis(20));
    }
    let lost = LOST.lock().unwrap();
    assert!(matches!(&lost[..], [why] if why.contains("Not a directory")), "{lost:?}");
}

#[test]
fn an_index_that_fails_again_and_again_ends_the_node() {
    fn ended(_: &str) {}
    let place = tempfile::tempdir().unwrap();
    let options = CatalogOptions { most_index_failures: 2, on_index_lost: ended, ..options(place.path()) };
    let (catalog, _) = Catalog::open(options).unwrap();
    for _ in 0..2 {
        catalog.mark_damaged();
        wait_until_ready(&catalog);
    }
    catalog.mark_damaged();
    while catalog.state() != CatalogState::Closed {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn work_that_does_not_return_is_left_to_itself() {
    let progress = Progress::default();
    let (_keep, wait) = std::sync::mpsc::channel::<()>();
    let patience = Duration::from_millis(50);
    let mut go_on = || Ok(());
    let hangs = move || Ok(wait.recv().is_ok());
    assert!(matches!(on_its_own_thread(&progress, patience, &mut go_on, hangs), Err(RebuildError::Stuck)));
    let sleeps = || {
        thread::sleep(Duration::from_secs(5));
        Ok(())
    };
    let mut stop = || Err(RebuildError::Stopped);
    let began = Instant::now();
    let outcome = on_its_own_thread(&progress, Duration::from_mins(1), &mut stop, sleeps);
    assert!(matches!(outcome, Err(RebuildError::Stopped)) && began.elapsed() < Duration::from_secs(4));
}
