//! Reading a journal that must not change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{digest, dump, link, open, options, put, repository, small_journal, tag};
use crate::catalog::command::CommitError;
use crate::catalog::local::journal::SEGMENT_BYTES;
use crate::catalog::local::{OpenCatalogError, RebuildReason, foreseen_rebuild};
use crate::catalog::{Catalog, CatalogOptions};

/// A catalog whose index is in a temporary directory, which lives as long as this value.
fn open_to_read(place: &Path) -> (Catalog, tempfile::TempDir) {
    let scratch = tempfile::tempdir().unwrap();
    let options = CatalogOptions { index_dir: scratch.path().into(), ..options(place) };
    (Catalog::open_to_read(options).unwrap().0, scratch)
}

fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn what_a_writer_has_stands_and_nothing_is_written() {
    let place = tempfile::tempdir().unwrap();
    let (catalog, _) = Catalog::open(small_journal(options(place.path()))).unwrap();
    for number in 1..200 {
        catalog.commit_blocking(vec![link("a", number), put("a", number + 1000, &[digest(number)], &["x"])]).unwrap();
    }
    // Closing waits for a compaction in flight; the writer below compacts nothing.
    catalog.close();
    let catalog = open(place.path());
    let journal = place.path().join("journal");
    // The directory as it is while another process appends to it.
    let before = files(&journal);
    fs::set_permissions(&journal, fs::Permissions::from_mode(0o500)).unwrap();
    let (copy, _scratch) = open_to_read(place.path());
    assert_eq!(copy.status().sequence, catalog.status().sequence);
    let (written, read) = (catalog.inner.shared.index().unwrap(), copy.inner.shared.index().unwrap());
    assert_eq!(dump(&written), dump(&read));
    assert!(matches!(copy.commit_blocking(vec![link("a", 1)]), Err(CommitError::ReadOnly)));
    fs::set_permissions(&journal, fs::Permissions::from_mode(0o700)).unwrap();
    copy.close();
    assert!(files(&journal) == before, "a file was changed");
}

#[test]
fn a_batch_that_was_never_acknowledged_is_left_out_and_stays_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    catalog.commit_blocking(vec![put("a", 1, &[], &["x"])]).unwrap();
    catalog.commit_blocking(vec![put("a", 2, &[], &["y"])]).unwrap();
    let sequence = catalog.status().sequence;
    catalog.close();
    let (path, bytes) = files(&place.path().join("journal")).pop_first().unwrap();
    assert_eq!(bytes.len() as u64, SEGMENT_BYTES);
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    fs::File::options().write(true).open(&path).unwrap().write_all_at(b"x", end as u64).unwrap();
    let torn = fs::read(&path).unwrap();

    fs::remove_dir_all(place.path().join("index")).unwrap();
    let (copy, _scratch) = open_to_read(place.path());
    assert!(copy.status().sequence < sequence);
    assert_eq!(copy.tag(&repository("a"), &tag("x")).unwrap(), Some(digest(1)));
    assert_eq!(copy.tag(&repository("a"), &tag("y")).unwrap(), None);
    assert!(fs::read(&path).unwrap() == torn, "the torn batch was cut");
}

#[test]
fn a_directory_without_a_journal_has_nothing_in_it() {
    let place = tempfile::tempdir().unwrap();
    let (copy, _scratch) = open_to_read(place.path());
    assert!(copy.repositories(None, 1).unwrap().items.is_empty());
    assert!(!place.path().join("journal").exists());
}

/// `status` of a stopped node read all records first, however many.
#[test]
fn reading_ends_at_its_deadline() {
    let place = tempfile::tempdir().unwrap();
    let catalog = open(place.path());
    catalog.commit_blocking(vec![link("a", 1)]).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let deadline = Some(Instant::now());
    let options = CatalogOptions { index_dir: scratch.path().into(), deadline, ..options(place.path()) };
    assert!(matches!(Catalog::open_to_read(options), Err(OpenCatalogError::Late)));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "the half-built index is gone");
}

#[test]
fn a_rebuild_is_foreseen_where_no_index_can_be_believed() {
    let place = tempfile::tempdir().unwrap();
    let (index, foreseen) = (options(place.path()).index_dir, || foreseen_rebuild(&options(place.path()).index_dir));
    assert_eq!(foreseen().unwrap(), Some(RebuildReason::Absent));
    open(place.path()).close();
    assert_eq!(foreseen().unwrap(), None);
    let mark = fs::read_to_string(index.join("mark")).unwrap();
    fs::write(index.join("mark"), mark.replace("\"clean\":1", "\"clean\":null").replace("boot\":\"", "boot\":\"other"))
        .unwrap();
    assert_eq!(foreseen().unwrap(), Some(RebuildReason::MachineCrash));
    fs::remove_dir_all(index).unwrap();
    assert_eq!(foreseen().unwrap(), Some(RebuildReason::Absent));
}
