//! Guarantees that hold when a system call fails.

use std::fs;

use super::{Fixture, id, noise, sha256};
use crate::digest::Algorithm;
use crate::disk::faults::{Step, plan};
use crate::{CommitUploadError, ContentStore, SYNC_STEP, StoreError};

#[test]
fn a_full_disk_leaves_an_upload_usable_at_its_offset() {
    for errno in [libc::ENOSPC, libc::EDQUOT] {
        let fixture = Fixture::new();
        let mut upload = fixture.create(Algorithm::Sha256);
        upload.append(b"one ").unwrap();
        plan(Step::Write, 0, errno);
        assert!(upload.append(b"does not fit").unwrap_err().is_disk_full());
        assert_eq!((upload.offset(), fs::metadata(fixture.data_path()).unwrap().len()), (4, 4));
        upload.append(b"two").unwrap();
        upload.finish(&sha256(b"one two")).unwrap().publish().unwrap();
    }
}

#[test]
fn a_write_error_poisons_and_reopening_goes_on_from_the_sync_point() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"one ").unwrap();
    upload.sync_point().unwrap();
    plan(Step::Write, 0, libc::EIO);
    assert!(matches!(upload.append(b"broken"), Err(StoreError::Io { .. })));
    assert!(matches!(upload.append(b"more"), Err(StoreError::UploadPoisoned(_))));
    drop(upload);
    let mut upload = fixture.reopen().unwrap();
    upload.append(b"two").unwrap();
    upload.finish(&sha256(b"one two")).unwrap();
}

#[test]
fn a_failed_sync_is_never_taken_for_a_good_one() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"synced").unwrap();
    upload.sync_point().unwrap();
    upload.append(b" unsure").unwrap();
    let mark = upload.mark();
    plan(Step::SyncData, 0, libc::EIO);
    assert!(matches!(upload.sync_point(), Err(StoreError::Io { .. })));
    assert!(matches!(upload.sync_point(), Err(StoreError::UploadPoisoned(_))));
    assert!(matches!(upload.roll_back(mark), Err(StoreError::UploadPoisoned(_))));
    let refused = upload.finish(&sha256(b"synced unsure")).unwrap_err();
    assert!(matches!(refused, CommitUploadError::Store(StoreError::UploadPoisoned(_))));
    assert_eq!(fixture.reopen().unwrap().offset(), 6);
}

/// The node went on as if nothing had happened: each push was taken, and failed at its end.
#[test]
fn a_store_whose_disk_failed_is_troubled_until_a_probe_succeeds() {
    for step in [Step::Write, Step::SyncData, Step::SyncDirectory, Step::Rename] {
        let fixture = Fixture::new();
        fixture.store.put_bytes(&sha256(b"abc"), b"abc").unwrap();
        plan(step, 0, libc::ENOSPC);
        assert!(fixture.store.put_bytes(&sha256(b"abd"), b"abd").unwrap_err().is_disk_full());
        assert!(!fixture.store.is_troubled(), "a full disk is none that fails");
        plan(step, 0, libc::EIO);
        assert!(fixture.store.put_bytes(&sha256(b"abd"), b"abd").is_err());
        assert!(fixture.store.is_troubled(), "{step:?}");
        for step in [Step::Write, Step::SyncData, Step::SyncDirectory] {
            plan(step, 0, libc::EIO);
            fixture.store.probe().unwrap_err();
            assert!(fixture.store.is_troubled(), "{step:?} of the probe");
        }
        fixture.store.probe().unwrap();
        assert!(!fixture.store.is_troubled() && fixture.names("uploads").is_empty());
    }
}

#[test]
fn an_upload_whose_sync_fails_is_not_published_and_troubles_the_store() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"abc").unwrap();
    plan(Step::SyncData, 0, libc::EIO);
    assert!(upload.finish(&sha256(b"abc")).is_err());
    assert!(fixture.store.is_troubled());
    assert_eq!(fixture.store.stat(&sha256(b"abc")).unwrap(), None);
    assert_eq!(fixture.reopen().unwrap().offset(), 0, "what was not synced is sent again");

    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"abc").unwrap();
    plan(Step::SyncData, 0, libc::EIO);
    assert!(upload.sync_point().is_err() && fixture.store.is_troubled());
}

#[test]
fn a_record_that_does_not_fit_leaves_the_sync_point_before() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"abc").unwrap();
    plan(Step::Write, 0, libc::ENOSPC);
    assert!(upload.sync_point().unwrap_err().is_disk_full());
    assert_eq!(fixture.store.uploads().unwrap()[0].offset, 0);
    upload.sync_point().unwrap();
    assert_eq!(fixture.store.uploads().unwrap()[0].offset, 3);
}

#[test]
fn an_append_whose_sync_point_does_not_fit_takes_nothing() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"one ").unwrap();
    let large = vec![7; SYNC_STEP as usize];
    // The first write is the data's, the second the record's.
    plan(Step::Write, 1, libc::ENOSPC);
    assert!(upload.append(&large).unwrap_err().is_disk_full());
    assert_eq!((upload.offset(), fs::metadata(fixture.data_path()).unwrap().len()), (4, 4));
    upload.append(b"two").unwrap();
    upload.finish(&sha256(b"one two")).unwrap();
}

#[test]
fn an_append_into_the_reserve_takes_nothing_each_time() {
    let fixture = Fixture::new();
    drop(fixture.create(Algorithm::Sha256));
    let store = ContentStore::open_with_reserve(fixture.directory.path(), u64::MAX).unwrap();
    assert!(!store.has_room() && fixture.store.has_room(), "as its operator is told");
    let mut upload = store.open_upload(&id()).unwrap().unwrap();
    for _ in 0..2 {
        assert!(upload.append(b"x").unwrap_err().is_disk_full());
    }
    assert!(upload.offset() == 0 && !store.is_troubled());
    drop(upload);
    let mut upload = fixture.reopen().unwrap();
    upload.append(b"x").unwrap();
    upload.finish(&sha256(b"x")).unwrap();
}

#[test]
fn a_failed_directory_sync_poisons_an_upload() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"abc").unwrap();
    plan(Step::SyncDirectory, 0, libc::EIO);
    assert!(upload.sync_point().is_err());
    assert!(matches!(upload.append(b"d"), Err(StoreError::UploadPoisoned(_))));
}

#[test]
fn finishing_fails_with_the_sync_and_keeps_the_session() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"abc").unwrap();
    upload.sync_point().unwrap();
    plan(Step::SyncData, 0, libc::ENOSPC);
    assert!(upload.finish(&sha256(b"abc")).unwrap_err().is_disk_full());
    assert_eq!(fixture.reopen().unwrap().offset(), 3);
}

#[test]
fn publishing_fails_with_the_rename_and_keeps_the_session_writable() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"abc").unwrap();
    upload.sync_point().unwrap();
    let finished = upload.finish(&sha256(b"abc")).unwrap();
    plan(Step::Rename, 0, libc::ENOSPC);
    assert!(finished.publish().unwrap_err().is_disk_full());
    let mut upload = fixture.reopen().unwrap();
    upload.append(b"d").unwrap();
    upload.finish(&sha256(b"abcd")).unwrap().publish().unwrap();
}

#[test]
fn publishing_fails_with_the_directory_sync() {
    let fixture = Fixture::new();
    fixture.store.put_bytes(&sha256(b"abc"), b"abc").unwrap();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"abc").unwrap();
    let finished = upload.finish(&sha256(b"abc")).unwrap();
    plan(Step::SyncDirectory, 0, libc::EIO);
    assert!(finished.publish().is_err());
    assert!(fixture.reopen().is_none());
}

#[test]
fn small_content_fails_at_each_step_without_a_trace_and_succeeds_when_repeated() {
    let bytes = noise(1000);
    for step in [Step::Write, Step::SyncData, Step::Rename] {
        let fixture = Fixture::new();
        plan(step, 0, libc::ENOSPC);
        assert!(fixture.store.put_bytes(&sha256(&bytes), &bytes).unwrap_err().is_disk_full(), "{step:?}");
        assert_eq!(fixture.store.stat(&sha256(&bytes)).unwrap(), None);
        assert!(fixture.names("uploads").is_empty());
        fixture.store.put_bytes(&sha256(&bytes), &bytes).unwrap();
    }
}

#[test]
fn content_whose_name_could_not_be_synced_is_written_again() {
    let fixture = Fixture::new();
    let digest = sha256(b"abc");
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(fixture.content_path(&digest)).unwrap());
    // The first directory sync is that of the new directory's parent.
    plan(Step::SyncDirectory, 1, libc::EIO);
    assert!(fixture.store.put_bytes(&digest, b"abc").is_err());
    let first = inode();
    let keep = fs::File::open(fixture.content_path(&digest)).unwrap();
    fixture.store.put_bytes(&digest, b"abc").unwrap();
    assert_ne!(inode(), first, "a second sync of the same name would prove nothing");
    drop(keep);
}

#[test]
fn a_failed_creation_leaves_nothing() {
    for step in [Step::Write, Step::Rename] {
        let fixture = Fixture::new();
        plan(step, 0, libc::ENOSPC);
        assert!(fixture.store.create_upload(&id(), "a", None).unwrap_err().is_disk_full());
        assert!(fixture.names("uploads").is_empty());
        fixture.create(Algorithm::Sha256);
    }
}

/// Fills a real file system of a few MiB; set `SKYBERTH_TEST_SMALL_DISK` to a directory on one that nobody else uses.
#[test]
fn a_file_system_that_really_is_full_keeps_what_it_has_and_takes_more_after_a_removal() {
    let Some(small) = std::env::var_os("SKYBERTH_TEST_SMALL_DISK") else {
        eprintln!("skipped: SKYBERTH_TEST_SMALL_DISK names no small file system");
        return;
    };
    let directory = tempfile::tempdir_in(small).unwrap();
    let store = ContentStore::open(directory.path()).unwrap();
    let free = store.free_space().unwrap();
    assert!(free < 64 * 1024 * 1024, "{free} bytes are free: not a small disk");
    store.put_bytes(&sha256(b"kept"), b"kept").unwrap();
    let ballast = noise(256 * 1024);
    store.put_bytes(&sha256(&ballast), &ballast).unwrap();

    let mut upload = store.create_upload(&id(), "a", None).unwrap();
    let chunk = noise(100_003);
    let mut taken = Vec::new();
    let error = loop {
        match upload.append(&chunk) {
            Ok(()) => taken.extend_from_slice(&chunk),
            Err(error) => break error,
        }
    };
    assert!(error.is_disk_full(), "{error}");
    assert_eq!(upload.offset(), taken.len() as u64);
    let large = noise(300_000);
    assert!(store.put_bytes(&sha256(&large), &large).unwrap_err().is_disk_full());

    let again = ContentStore::open(directory.path()).unwrap();
    assert_eq!(again.read_verified(&sha256(b"kept"), 4).unwrap(), b"kept");
    assert!(again.remove(&sha256(&ballast)).unwrap());
    upload.append(&chunk).unwrap();
    taken.extend_from_slice(&chunk);
    upload.finish(&sha256(&taken)).unwrap().publish().unwrap();
    assert_eq!(again.read_verified(&sha256(&taken), taken.len() as u64).unwrap(), taken);
}

/// Manifests were written into the reserve, and a cold read began its file there.
#[test]
fn nothing_new_begins_in_the_reserve() {
    let fixture = Fixture::new();
    fixture.store.put_bytes(&sha256(b"stored"), b"stored").unwrap();
    let store = ContentStore::open_with_reserve(fixture.directory.path(), u64::MAX).unwrap();
    assert!(store.create_upload(&id(), "a", None).unwrap_err().is_disk_full());
    assert!(store.put_bytes(&sha256(b"new"), b"new").unwrap_err().is_disk_full());
    assert!(store.stage(1).unwrap_err().is_disk_full());
    store.put_bytes(&sha256(b"stored"), b"stored").expect("what is stored already takes no space");
    assert!(fixture.names("uploads").is_empty() && !store.is_troubled());
}
