//! Failing disks, damaged records, and what a crash leaves at each step.

use content_store::faults::{Step, plan};
use content_store::record::RecordError;

use super::{Fixture, entry};
use crate::entries::record::encode;
use crate::entries::{EntryStoreError, Put};

#[test]
fn a_crash_before_the_rename_leaves_what_stood() {
    let mut fixture = Fixture::new();
    let [old, new] = [0, 1].map(|revision| entry(1, "a", revision, b"x"));
    fixture.store.put(&old).unwrap();
    let temporary = fixture.store.temporary_directory().join(new.id().to_string());
    let record = encode(&new);
    for written in [0, 1, record.len() / 2, record.len()] {
        std::fs::write(&temporary, &record[..written]).unwrap();
        fixture.reopen();
        assert_eq!(fixture.names("tmp"), Vec::<String>::new(), "the leftover of {written} bytes is swept");
        assert_eq!(fixture.store.get(&old.id()).unwrap(), Some(old.clone()));
    }
    assert_eq!(fixture.store.put(&new).unwrap(), Put::Stored { replaced: Some(old) });
}

#[test]
fn a_crash_after_the_rename_leaves_the_new_one() {
    let mut fixture = Fixture::new();
    let [old, new] = [0, 1].map(|revision| entry(1, "a", revision, b"x"));
    fixture.store.put(&old).unwrap();
    let temporary = fixture.store.temporary_directory().join(new.id().to_string());
    std::fs::write(&temporary, encode(&new)).unwrap();
    std::fs::rename(&temporary, &fixture.store.place(&new.id()).1).unwrap();
    fixture.reopen();
    assert_eq!(fixture.store.get(&old.id()).unwrap(), Some(new));
}

#[test]
fn only_records_are_swept() {
    let mut fixture = Fixture::new();
    let foreign = fixture.store.temporary_directory().join("notes.txt");
    std::fs::write(&foreign, "somebody's").unwrap();
    fixture.reopen();
    assert_eq!(std::fs::read(&foreign).unwrap(), b"somebody's");
}

#[test]
fn a_failing_step_is_an_error_and_the_next_attempt_succeeds() {
    for (step, errno, full) in [
        (Step::Write, libc::ENOSPC, true),
        (Step::Write, libc::EIO, false),
        (Step::SyncData, libc::EIO, false),
        (Step::SyncData, libc::EDQUOT, true),
        (Step::Rename, libc::EIO, false),
        (Step::SyncDirectory, libc::EIO, false),
    ] {
        let fixture = Fixture::new();
        let [old, new] = [0, 1].map(|revision| entry(1, "a", revision, b"x"));
        fixture.store.put(&old).unwrap();
        plan(step, 0, errno);
        assert_eq!(fixture.store.put(&new).unwrap_err().is_disk_full(), full, "{step:?}");
        assert_eq!(fixture.names("tmp"), Vec::<String>::new(), "{step:?} leaves nothing behind");
        let standing = fixture.store.get(&old.id()).unwrap();
        if step == Step::SyncDirectory {
            assert_eq!(standing, Some(new.clone()));
        } else {
            assert_eq!(standing, Some(old));
        }
        fixture.store.put(&new).unwrap();
        assert_eq!(fixture.store.get(&new.id()).unwrap(), Some(new));
    }
}

/// After a name whose sync failed, the same entry again must not be answered from what only the page cache has.
#[test]
fn the_same_entry_again_is_made_durable_again() {
    let fixture = Fixture::new();
    let entry = entry(1, "a", 0, b"x");
    fixture.store.put(&entry).unwrap();
    for step in [Step::Write, Step::SyncData, Step::Rename, Step::SyncDirectory] {
        plan(step, 0, libc::EIO);
        assert!(fixture.store.put(&entry).is_err(), "{step:?} takes place");
    }
    assert!(matches!(fixture.store.put(&entry).unwrap(), Put::Refused { standing, .. } if standing == entry));
}

#[test]
fn a_damaged_record_is_absent_and_kept_aside() {
    let mut fixture = Fixture::new();
    let entry = entry(1, "a", 3, b"x");
    let (_, path) = fixture.store.place(&entry.id());
    for attempt in 1..=3 {
        fixture.store.put(&entry).unwrap();
        let mut record = std::fs::read(&path).unwrap();
        let bit = record.len() / 2;
        record[bit] ^= 1;
        std::fs::write(&path, &record).unwrap();
        if attempt == 3 {
            // The one who finds it is a writer.
            assert_eq!(fixture.store.put(&entry).unwrap(), Put::Stored { replaced: None });
            assert_eq!(fixture.store.get(&entry.id()).unwrap(), Some(entry.clone()));
        } else {
            assert_eq!(fixture.store.get(&entry.id()).unwrap(), None);
            assert!(!path.exists());
        }
        let aside = fixture.names("damaged");
        assert_eq!(aside.len(), attempt);
        assert!(aside.iter().all(|name| name.starts_with(&format!("{}-", entry.id()))));
        fixture.reopen();
    }
}

#[test]
fn records_of_a_wrong_length_are_damaged() {
    let fixture = Fixture::new();
    let entry = entry(1, "a", 3, b"x");
    let (_, path) = fixture.store.place(&entry.id());
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    for record in [vec![], vec![0; 5000], [encode(&entry), vec![0; 300]].concat()] {
        std::fs::write(&path, record).unwrap();
        assert_eq!(fixture.store.get(&entry.id()).unwrap(), None);
    }
    assert_eq!(fixture.names("damaged").len(), 3);
}

#[test]
fn damage_that_cannot_be_set_aside_is_no_answer() {
    let fixture = Fixture::new();
    let entry = entry(1, "a", 3, b"x");
    fixture.store.put(&entry).unwrap();
    std::fs::write(fixture.store.place(&entry.id()).1, b"garbage").unwrap();
    plan(Step::Rename, 0, libc::EROFS);
    assert!(fixture.store.get(&entry.id()).is_err());
    assert_eq!(fixture.store.get(&entry.id()).unwrap(), None);
}

#[test]
fn a_record_of_a_newer_program_is_neither_read_nor_replaced() {
    let fixture = Fixture::new();
    let entry = entry(1, "a", 3, b"x");
    let (_, path) = fixture.store.place(&entry.id());
    let mut record = encode(&entry);
    record.truncate(record.len() - 8);
    record[8] = 2;
    record.extend_from_slice(&content_store::checksum::checksum(&record));
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    std::fs::write(&path, &record).unwrap();
    let is_newer = |error| matches!(error, EntryStoreError::Record(RecordError::NewerFormat { version: 2, .. }));
    assert!(is_newer(fixture.store.get(&entry.id()).unwrap_err()));
    assert!(is_newer(fixture.store.put(&entry).unwrap_err()));
    assert_eq!(std::fs::read(&path).unwrap(), record);
}

#[test]
fn a_directory_whose_name_is_not_durable_takes_no_entry() {
    let fixture = Fixture::new();
    let entry = entry(1, "a", 0, b"x");
    plan(Step::SyncDirectory, 0, libc::EIO);
    assert!(fixture.store.put(&entry).is_err());
    assert_eq!(fixture.store.get(&entry.id()).unwrap(), None);
    assert_eq!(fixture.store.put(&entry).unwrap(), Put::Stored { replaced: None });
}
