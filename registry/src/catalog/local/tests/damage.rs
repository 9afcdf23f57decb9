//! A damaged, foreign or old index never gives a wrong answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::super::index::schema::{Key, Table};
use super::super::journal::OpenError;
use super::super::{Catalog, CatalogOptions, CatalogState, IndexOrigin, OpenCatalogError, RebuildReason};
use super::histories::wait_until_ready;
use super::{assert_equals_rebuild, digest, link, open, options, put, repository, tag};
use crate::catalog::command::ReadError;

/// 300 blobs, 100 manifests and tags.
fn fill(catalog: &Catalog) {
    for number in 0..100 {
        let blobs = [3 * number, 3 * number + 1, 3 * number + 2];
        let mut push: Vec<_> = blobs.into_iter().map(|blob| link("a", blob)).collect();
        push.push(put("a", 10_000 + number, &blobs.map(digest), &[&format!("t{number}")]));
        catalog.commit_blocking(push).unwrap();
    }
}

fn assert_filled(catalog: &Catalog) {
    let a = repository("a");
    for number in 0..100 {
        let name = tag(&format!("t{number}"));
        assert_eq!(catalog.tag(&a, &name).unwrap(), Some(digest(10_000 + number)));
        let manifest = catalog.manifest(&a, &digest(10_000 + number)).unwrap().unwrap();
        assert_eq!(manifest.references.len(), 3);
        for blob in manifest.references {
            assert_eq!(catalog.blob(&a, &blob).unwrap().map(digest), Some(blob));
        }
    }
    assert_eq!(catalog.tags(&a, None, 200).unwrap().items.len(), 100);
    assert_eq!(catalog.blobs(&a, None, 500).unwrap().items.len(), 300);
}

fn filled(place: &Path) -> CatalogOptions {
    let options = options(place);
    let (catalog, _) = Catalog::open(options.clone()).unwrap();
    fill(&catalog);
    catalog.close();
    options
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

fn reason(options: &CatalogOptions) -> RebuildReason {
    let (catalog, report) = Catalog::open(options.clone()).unwrap();
    assert_filled(&catalog);
    assert_equals_rebuild(&catalog);
    match report.index {
        IndexOrigin::Rebuilt { because, .. } => because,
        other => panic!("not rebuilt: {other:?}"),
    }
}

#[test]
fn damage_found_by_a_read_is_said_and_then_repaired() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    fill(&catalog);
    let a = repository("a");
    let index = catalog.inner.shared.index().unwrap();
    index.damage(&Key::of(Table::Tag).repository(&a).tag(&tag("t5")).bytes());
    drop(index);
    assert_eq!(catalog.tag(&a, &tag("t4")).unwrap(), Some(digest(10_004)));
    assert!(matches!(catalog.tag(&a, &tag("t5")), Err(ReadError::Rebuilding)));
    wait_until_ready(&catalog);
    assert_eq!((catalog.status().state, catalog.status().rebuilds), (CatalogState::Ready, 1));
    assert_filled(&catalog);
    assert_equals_rebuild(&catalog);
    let set_aside = fs::read_dir(place.path().join("index")).unwrap();
    let names = set_aside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().any(|name| name == "damaged-1000"));
}

#[test]
fn damage_found_by_the_writer_or_a_scan_is_repaired_too() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    fill(&catalog);
    let a = repository("a");
    let blob = Key::of(Table::Blob).repository(&a).digest(&digest(3)).bytes();
    catalog.inner.shared.index().unwrap().damage(&blob);
    assert!(catalog.commit_blocking(vec![link("a", 3)]).is_err());
    wait_until_ready(&catalog);
    assert_filled(&catalog);
    catalog.inner.shared.index().unwrap().damage(&blob);
    assert!(catalog.blobs(&a, None, 1000).is_err());
    wait_until_ready(&catalog);
    assert_filled(&catalog);
    assert_eq!(catalog.status().rebuilds, 2);
}

#[test]
fn an_entry_that_sled_lost_is_missed_at_the_next_start() {
    let place = tempfile::tempdir().unwrap();
    let options = options(place.path());
    let (catalog, _) = Catalog::open(options.clone()).unwrap();
    fill(&catalog);
    let key = Key::of(Table::Repository).repository(&repository("a")).bytes();
    catalog.inner.shared.index().unwrap().lose(&key);
    drop(catalog);
    assert!(matches!(reason(&options), RebuildReason::Damaged(_)));
}

#[test]
fn flipped_bits_and_lost_tails_never_make_a_wrong_answer() {
    let place = tempfile::tempdir().unwrap();
    let original = filled(&place.path().join("original"));
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let mut rebuilt = 0;
    for round in 0..48 {
        let mut options = original.clone();
        options.index_dir = place.path().join(format!("index-{round}"));
        copy(&original.index_dir, &options.index_dir);
        let files = files_below(&options.index_dir.join("1"));
        let file = &files[next(files.len())];
        let mut bytes = fs::read(file).unwrap();
        if bytes.is_empty() {
            continue;
        }
        // sled's files are longer than the data written.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        match round % 4 {
            0 => bytes[next(used)..].fill(0),
            1 => bytes.truncate(next(used)),
            _ => {
                for _ in 0..=round {
                    bytes[next(used)] ^= 1 << next(8);
                }
            }
        }
        fs::write(file, bytes).unwrap();
        let (catalog, report) = Catalog::open(options.clone()).unwrap();
        rebuilt += u32::from(matches!(report.index, IndexOrigin::Rebuilt { .. }));
        assert_filled(&catalog);
        assert_equals_rebuild(&catalog);
        catalog.close();
        drop(catalog);
        fs::remove_dir_all(options.index_dir).unwrap();
    }
    assert!(rebuilt > 10, "{rebuilt} rebuilt: the damage did not reach the data");
}

#[test]
fn an_emptied_snapshot_of_sled_does_not_stop_a_start() {
    let place = tempfile::tempdir().unwrap();
    let options = filled(place.path());
    let database = options.index_dir.join("1");
    let is_snapshot = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().starts_with("snap.");
    for file in files_below(&database).into_iter().filter(is_snapshot) {
        fs::write(file, b"").unwrap();
    }
    let (catalog, _) = Catalog::open(options).unwrap();
    assert_filled(&catalog);
}

#[test]
fn another_journals_index_is_not_used() {
    let place = tempfile::tempdir().unwrap();
    let (one, other) = (filled(&place.path().join("one")), options(&place.path().join("other")));
    let (catalog, _) = Catalog::open(other.clone()).unwrap();
    for number in 0..120 {
        catalog.commit_blocking(vec![link("b", number), put("b", 500 + number, &[], &["x"])]).unwrap();
    }
    catalog.close();
    fs::remove_dir_all(&one.index_dir).unwrap();
    copy(&other.index_dir, &one.index_dir);
    assert_eq!(reason(&one), RebuildReason::OtherJournal);
}

#[test]
fn a_machine_crash_is_seen_and_a_killed_process_is_not_one() {
    let place = tempfile::tempdir().unwrap();
    let mut options = filled(place.path());
    let (catalog, report) = Catalog::open(options.clone()).unwrap();
    assert_eq!(report.index, IndexOrigin::Reused);
    // The files on disk when the process is killed: the mark is not clean.
    let killed = place.path().join("killed");
    copy(&options.index_dir, &killed);
    catalog.close();
    drop(catalog);
    options.index_dir = killed;
    options.boot_id = "another boot".into();
    let again = place.path().join("again");
    copy(&options.index_dir, &again);
    assert_eq!(reason(&options), RebuildReason::MachineCrash);
    options.index_dir = again;
    options.boot_id = "this boot".into();
    assert_eq!(Catalog::open(options).unwrap().1.index, IndexOrigin::Reused);
}

#[test]
fn an_index_that_is_behind_catches_up_and_one_that_is_ahead_is_not_used() {
    let place = tempfile::tempdir().unwrap();
    let options = filled(place.path());
    let (old_index, old_journal) = (place.path().join("old-index"), place.path().join("old-journal"));
    copy(&options.index_dir, &old_index);
    copy(&options.journal_dir, &old_journal);
    let (catalog, _) = Catalog::open(options.clone()).unwrap();
    catalog.commit_blocking(vec![link("b", 1), link("b", 2)]).unwrap();
    catalog.close();
    drop(catalog);

    let behind = CatalogOptions { index_dir: old_index, ..options.clone() };
    let (catalog, report) = Catalog::open(behind).unwrap();
    assert_eq!(report.index, IndexOrigin::CaughtUp { facts: 3 });
    assert_eq!(catalog.blob(&repository("b"), &digest(2)).unwrap(), Some(2));
    assert_equals_rebuild(&catalog);
    drop(catalog);

    let ahead = CatalogOptions { journal_dir: old_journal, ..options };
    let refused = Catalog::open(ahead.clone()).unwrap_err();
    assert!(matches!(refused, OpenCatalogError::Journal(OpenError::Damaged { .. })), "the journal has lost records");
    // A mark from before it recorded the end of the journal.
    let mark = ahead.index_dir.join("mark");
    let mut known: serde_json::Value = serde_json::from_slice(&fs::read(&mark).unwrap()).unwrap();
    known.as_object_mut().unwrap().remove("journal");
    fs::write(&mark, known.to_string()).unwrap();
    assert_eq!(reason(&ahead), RebuildReason::PastJournalEnd);
}

#[test]
fn an_interrupted_rebuild_is_not_used() {
    let place = tempfile::tempdir().unwrap();
    let options = filled(place.path());
    let (catalog, _) = Catalog::open(options.clone()).unwrap();
    let index = catalog.inner.shared.index().unwrap();
    index.apply(std::collections::BTreeMap::new(), None).unwrap();
    drop(index);
    drop(catalog);
    assert_eq!(reason(&options), RebuildReason::Unfinished);
}

#[test]
fn facts_that_sled_would_not_take_are_answered_and_no_read_misses_them() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    fill(&catalog);
    catalog.inner.shared.index().unwrap().fail_next.store(true, Ordering::SeqCst);
    let sequence = catalog.status().sequence;
    let committed = catalog.commit_blocking(vec![link("a", 5000)]).unwrap();
    assert_eq!(committed.sequence, sequence + 1);
    let read = loop {
        match catalog.blob(&repository("a"), &digest(5000)) {
            Ok(size) => break size,
            Err(ReadError::Rebuilding) => thread::yield_now(),
        }
    };
    assert_eq!(read, Some(5000));
    wait_until_ready(&catalog);
    assert_eq!(catalog.status().rebuilds, 1);
    assert_equals_rebuild(&catalog);
}

/// Commits until it is stopped. Returns the last acknowledged number.
fn commit_until(catalog: &Catalog, name: &str, stop: &AtomicBool) -> u64 {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        // A number that was not acknowledged may be there already. Committing it again then changes nothing.
        if catalog.commit_blocking(vec![link(name, number + 1)]).is_ok() {
            number += 1;
            match catalog.blob(&repository(name), &digest(number)) {
                Ok(size) => assert_eq!(size, Some(number), "acknowledged and not there"),
                Err(ReadError::Rebuilding) => {}
            }
        } else {
            thread::yield_now();
        }
    }
    number
}

#[test]
fn what_is_acknowledged_while_the_index_is_rebuilt_again_and_again_is_there() {
    let place = tempfile::tempdir().unwrap();
    let (catalog, _) = Catalog::open(super::small_journal(options(place.path()))).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (catalog, stop) = (&catalog, &stop);
        let committers =
            ["a", "b", "c", "d"].map(|name| (name, scope.spawn(move || commit_until(catalog, name, stop))));
        for round in 0..12 {
            thread::sleep(std::time::Duration::from_millis(20));
            match catalog.inner.shared.index() {
                Some(index) if round % 3 == 0 => index.fail_next.store(true, Ordering::SeqCst),
                _ => catalog.mark_damaged(),
            }
        }
        stop.store(true, Ordering::SeqCst);
        let counts = committers.map(|(name, committer)| (name, committer.join().unwrap()));
        wait_until_ready(catalog);
        for (name, count) in counts {
            assert!(count > 0, "{name} was never served");
            for number in 1..=count {
                assert_eq!(catalog.blob(&repository(name), &digest(number)).unwrap(), Some(number));
            }
        }
    });
    assert!(catalog.status().rebuilds > 3);
    assert_equals_rebuild(&catalog);
}

#[test]
fn a_stopped_node_knows_where_its_journal_ends() {
    let place = tempfile::tempdir().unwrap();
    let options = filled(place.path());
    let path = files_below(&options.journal_dir).into_iter().find(|path| path.extension().is_none()).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = Catalog::open(options.clone()).unwrap_err();
    assert!(matches!(error, OpenCatalogError::Journal(OpenError::Damaged { .. })), "{error}");
    // Without the mark the end is unknown, so the damage is taken for a batch torn by a crash.
    fs::remove_dir_all(&options.index_dir).unwrap();
    let (_, report) = Catalog::open(options).unwrap();
    assert!(report.cut.is_some());
}
