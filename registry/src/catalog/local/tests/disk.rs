//! A disk that is full or fails.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::journal::{Disk, SystemDisk};
use super::super::{Catalog, CatalogOptions, CatalogState};
use super::{digest, link, options, put, repository, small_journal, tag};
use crate::catalog::command::{Command, CommitError};
use crate::oci::FixedTags;

/// Counts syncs, and fails on demand.
#[derive(Debug, Default)]
pub(super) struct FaultyDisk {
    pub(super) full: AtomicBool,
    pub(super) broken: AtomicBool,
    pub(super) syncs: AtomicU64,
}

impl Disk for FaultyDisk {
    fn allocate(&self, file: &File, length: u64) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        SystemDisk.allocate(file, length)
    }

    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        SystemDisk.write(file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        SystemDisk.sync(file)
    }
}

pub(super) fn on_faulty_disk(place: &Path) -> (CatalogOptions, Arc<FaultyDisk>) {
    let disk = Arc::new(FaultyDisk::default());
    let mut options = options(place);
    options.journal.disk = Arc::<FaultyDisk>::clone(&disk);
    (options, disk)
}

#[test]
fn on_a_full_disk_deletes_still_commit() {
    let place = tempfile::tempdir().unwrap();
    let (options, disk) = on_faulty_disk(place.path());
    let mut options = small_journal(options);
    options.journal.compact_at_least = u64::MAX;
    options.journal.compact_at_most = u64::MAX;
    let (catalog, _) = Catalog::open(options).unwrap();
    catalog.commit_blocking(vec![link("a", 0), put("a", 0, &[], &["x"])]).unwrap();
    disk.full.store(true, Ordering::SeqCst);
    let mut last = 0;
    let outcome = loop {
        match catalog.commit_blocking(vec![link("a", last + 1)]) {
            Ok(_) => last += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(outcome, CommitError::DiskFull), "{outcome:?}");
    assert_eq!(catalog.status().state, CatalogState::Ready);
    assert_eq!(catalog.blob(&repository("a"), &digest(last + 1)).unwrap(), None);
    catalog.commit_blocking(vec![link("a", last)]).expect("what changes nothing needs no space");
    let delete =
        Command::DeleteTag { repository: repository("a"), tag: tag("x"), precondition: None, fixed: FixedTags::none() };
    catalog.commit_blocking(vec![delete]).unwrap();
    assert_eq!(catalog.tag(&repository("a"), &tag("x")).unwrap(), None);
    disk.full.store(false, Ordering::SeqCst);
    catalog.commit_blocking(vec![link("a", last + 1)]).unwrap();
}

#[test]
fn after_a_failed_sync_the_node_is_read_only_until_the_journal_can_be_written() {
    let place = tempfile::tempdir().unwrap();
    let (options, disk) = on_faulty_disk(place.path());
    let (catalog, _) = Catalog::open(options.clone()).unwrap();
    catalog.commit_blocking(vec![link("a", 1)]).unwrap();
    disk.broken.store(true, Ordering::SeqCst);
    assert!(matches!(catalog.commit_blocking(vec![link("a", 2)]), Err(CommitError::ReadOnly)));
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert!(matches!(catalog.commit_blocking(vec![link("a", 3)]), Err(CommitError::ReadOnly)));
    assert_eq!(catalog.status().state, CatalogState::ReadOnly);
    assert_eq!(catalog.blob(&repository("a"), &digest(1)).unwrap(), Some(1));
    assert_eq!(catalog.blob(&repository("a"), &digest(2)).unwrap(), None);
    disk.broken.store(false, Ordering::SeqCst);
    while catalog.state() != CatalogState::Ready {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // It was refused, but only its sync had failed.
    assert_eq!(catalog.blob(&repository("a"), &digest(2)).unwrap(), Some(2));
    catalog.commit_blocking(vec![link("a", 3)]).unwrap();
    super::assert_equals_rebuild(&catalog);
    drop(catalog);
    let (catalog, _) = Catalog::open(options).unwrap();
    assert_eq!(catalog.blob(&repository("a"), &digest(3)).unwrap(), Some(3));
    super::assert_equals_rebuild(&catalog);
}

/// Once sled meets a full disk, it fails for reads too.
#[test]
fn a_nearly_full_disk_takes_only_what_frees_space() {
    let place = tempfile::tempdir().unwrap();
    let mut options = options(place.path());
    let (catalog, _) = Catalog::open(options.clone()).unwrap();
    catalog.commit_blocking(vec![link("a", 1), put("a", 2, &[], &["x"])]).unwrap();
    drop(catalog);
    options.index_reserve_bytes = u64::MAX;
    let (catalog, _) = Catalog::open(options).unwrap();
    assert!(matches!(catalog.commit_blocking(vec![link("a", 3)]), Err(CommitError::DiskFull)));
    catalog.commit_blocking(vec![link("a", 1)]).expect("what changes nothing needs no space");
    let delete =
        Command::DeleteTag { repository: repository("a"), tag: tag("x"), precondition: None, fixed: FixedTags::none() };
    catalog.commit_blocking(vec![delete]).unwrap();
    assert_eq!(catalog.tag(&repository("a"), &tag("x")).unwrap(), None);
}
