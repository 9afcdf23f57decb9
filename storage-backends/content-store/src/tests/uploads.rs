//! Sessions: from creation to content, and after the end of the process at any point.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Fixture, id, noise, sha256};
use crate::checksum::checksum;
use crate::digest::{Algorithm, Digest};
use crate::{CommitUploadError, OWNER_LIMIT, SYNC_STEP, StoreError, UploadId};

/// Changes the body of the state record and makes the checksum right again.
fn patch_state(fixture: &Fixture, patch: impl FnOnce(&mut [u8])) {
    let mut record = fs::read(fixture.state_path()).unwrap();
    let body = record.len() - 8;
    patch(&mut record[..body]);
    let sum = checksum(&record[..body]);
    record[body..].copy_from_slice(&sum);
    fs::write(fixture.state_path(), record).unwrap();
}

#[test]
fn an_upload_becomes_content_in_each_algorithm_whichever_ran() {
    let bytes = noise(700_001);
    for running in Algorithm::ALL {
        for asked in Algorithm::ALL {
            let fixture = Fixture::new();
            let mut upload = fixture.create(running);
            for chunk in bytes.chunks(99_999) {
                upload.append(chunk).unwrap();
            }
            let digest = Digest::of(asked, &bytes);
            let finished = upload.finish(&digest).unwrap();
            assert_eq!((finished.length(), finished.digest()), (700_001, &digest));
            assert_eq!(fixture.store.stat(&digest).unwrap(), None, "nothing is seen before it is published");
            finished.publish().unwrap();
            assert_eq!(fixture.store.read_verified(&digest, 700_001).unwrap(), bytes);
            assert_eq!(fs::metadata(fixture.content_path(&digest)).unwrap().permissions().mode() & 0o777, 0o400);
            assert!(fixture.names("uploads").is_empty());
            assert!(fixture.reopen().is_none());
        }
    }
}

#[test]
fn a_new_session_says_what_it_was_made_with() {
    let fixture = Fixture::new();
    let upload = fixture.store.create_upload(&id(), "library/a", None).unwrap();
    assert_eq!((upload.id(), upload.owner(), upload.offset()), (&id(), "library/a", 0));
    assert_eq!(upload.algorithm(), Algorithm::Sha256);
    assert!(matches!(fixture.store.create_upload(&id(), "b", None), Err(StoreError::UploadExists(_))));
    let other = UploadId::from_random([1; 16]);
    let long = "x".repeat(OWNER_LIMIT + 1);
    assert!(matches!(fixture.store.create_upload(&other, &long, None), Err(StoreError::OwnerTooLong { .. })));
    assert_eq!(fixture.reopen().unwrap().owner(), "library/a", "it survives without any sync point");
}

#[test]
fn data_past_the_last_sync_point_is_cut_off() {
    for algorithm in Algorithm::ALL {
        let fixture = Fixture::new();
        let mut upload = fixture.create(algorithm);
        upload.append(b"kept ").unwrap();
        upload.sync_point().unwrap();
        upload.append(b"lost").unwrap();
        drop(upload);
        let mut upload = fixture.reopen().unwrap();
        assert_eq!((upload.offset(), upload.algorithm()), (5, algorithm));
        assert_eq!(fs::metadata(fixture.data_path()).unwrap().len(), 5);
        upload.append(b"and more").unwrap();
        let digest = Digest::of(algorithm, b"kept and more");
        upload.finish(&digest).unwrap().publish().unwrap();
        assert_eq!(fixture.store.read_verified(&digest, 13).unwrap(), b"kept and more");
    }
}

#[test]
fn data_shorter_than_the_state_is_hashed_again_and_recorded_before_more_comes() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"0123456789").unwrap();
    upload.sync_point().unwrap();
    drop(upload);
    fs::OpenOptions::new().write(true).open(fixture.data_path()).unwrap().set_len(4).unwrap();
    let mut upload = fixture.reopen().unwrap();
    assert_eq!(upload.offset(), 4);
    // Without a new record, the old one would fit this longer file and speak of other bytes.
    upload.append(b"abcdefghi").unwrap();
    drop(upload);
    let upload = fixture.reopen().unwrap();
    assert_eq!(upload.offset(), 4);
    upload.finish(&sha256(b"0123")).unwrap();
}

#[test]
fn a_hash_state_that_does_not_decode_is_computed_again() {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let fixture = Fixture::new();
        let mut upload = fixture.create(algorithm);
        upload.append(b"0123456789").unwrap();
        upload.sync_point().unwrap();
        drop(upload);
        // The first byte of the hash state names its layout.
        patch_state(&fixture, |body| body[44 + "library/a".len()] = 99);
        let upload = fixture.reopen().unwrap();
        assert_eq!(upload.offset(), 10);
        upload.finish(&Digest::of(algorithm, b"0123456789")).unwrap();
    }
}

#[test]
fn a_session_with_a_torn_or_garbage_record_is_none_and_is_swept() {
    let whole = {
        let fixture = Fixture::new();
        fixture.create(Algorithm::Sha256);
        fs::read(fixture.state_path()).unwrap()
    };
    let torn = [Vec::new(), whole[..whole.len() / 2].to_vec(), vec![0; whole.len()], noise(5000)];
    for record in torn {
        let fixture = Fixture::new();
        fixture.create(Algorithm::Sha256);
        fs::write(fixture.state_path(), record).unwrap();
        assert!(fixture.reopen().is_none());
        assert_eq!(fixture.store.uploads().unwrap(), []);
        assert!(fixture.names("uploads").is_empty());
    }
}

#[test]
fn a_record_of_a_newer_format_is_left_alone() {
    let fixture = Fixture::new();
    fixture.create(Algorithm::Sha256);
    patch_state(&fixture, |body| body[8] = 9);
    assert!(matches!(fixture.store.open_upload(&id()), Err(StoreError::NewerFormat { version: 9, .. })));
    assert_eq!(fixture.store.uploads().unwrap(), []);
    assert!(fixture.data_path().exists() && fixture.state_path().exists());
}

#[test]
fn listing_tells_sessions_and_sweeps_leftovers_only() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"synced").unwrap();
    upload.sync_point().unwrap();
    upload.append(b" not").unwrap();
    // A creation that ended before its record, a publication that ended before its record was removed, a small write.
    let (created, published) = (UploadId::from_random([1; 16]), UploadId::from_random([2; 16]));
    fixture.store.create_upload(&created, "b", None).unwrap();
    fs::remove_file(fixture.path(&format!("uploads/{created}/state"))).unwrap();
    fixture.store.create_upload(&published, "c", None).unwrap();
    fs::remove_file(fixture.path(&format!("uploads/{published}/data"))).unwrap();
    fs::write(fixture.path("uploads/put-1-2.tmp"), b"").unwrap();
    fs::write(fixture.path("uploads/notes.txt"), b"").unwrap();

    let listed = fixture.store.uploads().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].id, &listed[0].owner[..], listed[0].offset), (&id(), "library/a", 6));
    assert_eq!(fixture.names("uploads"), [id().to_string(), "notes.txt".to_owned()]);
    upload.append(b" disturbed").unwrap();
    upload.finish(&sha256(b"synced not disturbed")).unwrap();
}

#[test]
fn a_file_named_like_a_session_does_not_stop_the_listing() {
    let fixture = Fixture::new();
    fs::write(fixture.path(&format!("uploads/{}", id())), b"").unwrap();
    assert_eq!(fixture.store.uploads().unwrap(), []);
    assert_eq!(fixture.names("uploads"), [id().to_string()]);
}

#[test]
fn what_is_being_made_is_not_swept() {
    let fixture = Fixture::new();
    fs::write(fixture.path("uploads/put-1-2.tmp"), b"").unwrap();
    let guard = fixture.store.protect("put-1-2.tmp".to_owned());
    fixture.store.uploads().unwrap();
    assert_eq!(fixture.names("uploads"), ["put-1-2.tmp"]);
    drop(guard);
    fixture.store.uploads().unwrap();
    assert!(fixture.names("uploads").is_empty());
}

#[test]
fn a_discarded_session_is_gone_and_its_handle_of_no_use() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"abc").unwrap();
    assert!(fixture.store.discard_upload(&id()).unwrap());
    assert!(!fixture.store.discard_upload(&id()).unwrap());
    assert!(upload.sync_point().is_err());
    assert!(upload.finish(&sha256(b"abc")).is_err());
    assert_eq!(fixture.store.stat(&sha256(b"abc")).unwrap(), None);
}

#[test]
fn other_bytes_than_promised_end_the_session() {
    for algorithm in Algorithm::ALL {
        let fixture = Fixture::new();
        let mut upload = fixture.create(Algorithm::Sha256);
        upload.append(b"abc").unwrap();
        upload.sync_point().unwrap();
        let promised = Digest::of(algorithm, b"abd");
        match upload.finish(&promised).unwrap_err() {
            CommitUploadError::DigestMismatch { expected, computed, length } => {
                assert_eq!((expected, computed, length), (promised, Digest::of(algorithm, b"abc"), 3));
            }
            other => panic!("{other}"),
        }
        assert!(fixture.names("uploads").is_empty());
    }
}

#[test]
fn an_unknown_algorithm_keeps_every_byte_of_the_session() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"abc").unwrap();
    let error = upload.finish(&"md5:900150983cd24fb0d6963f7d28e17f72".parse().unwrap()).unwrap_err();
    assert!(matches!(error, CommitUploadError::UnsupportedAlgorithm { algorithm } if algorithm == "md5"));
    let upload = fixture.reopen().unwrap();
    assert_eq!(upload.offset(), 3);
    upload.finish(&sha256(b"abc")).unwrap().publish().unwrap();
}

#[test]
fn a_finished_upload_that_is_dropped_can_be_finished_again() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"abc").unwrap();
    upload.sync_point().unwrap();
    drop(upload.finish(&sha256(b"abc")).unwrap());
    fixture.reopen().unwrap().finish(&sha256(b"abc")).unwrap().publish().unwrap();
    assert_eq!(fixture.store.read_verified(&sha256(b"abc"), 3).unwrap(), b"abc");
}

#[test]
fn publishing_replaces_damaged_content() {
    let fixture = Fixture::new();
    let digest = sha256(b"abc");
    fixture.store.put_bytes(&digest, b"abc").unwrap();
    fs::remove_file(fixture.content_path(&digest)).unwrap();
    fs::write(fixture.content_path(&digest), b"rot").unwrap();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"abc").unwrap();
    upload.finish(&digest).unwrap().publish().unwrap();
    assert_eq!(fixture.store.read_verified(&digest, 3).unwrap(), b"abc");
}

#[test]
fn rolling_back_restores_bytes_and_hash() {
    for algorithm in Algorithm::ALL {
        let fixture = Fixture::new();
        let mut upload = fixture.create(algorithm);
        upload.append(b"one ").unwrap();
        let mark = upload.mark();
        upload.append(b"broken off").unwrap();
        upload.sync_point().unwrap();
        upload.roll_back(mark).unwrap();
        assert_eq!(upload.offset(), 4);
        assert_eq!(fixture.reopen().unwrap().offset(), 4, "the record went back too");
        upload.append(b"two").unwrap();
        let digest = Digest::of(algorithm, b"one two");
        upload.finish(&digest).unwrap().publish().unwrap();
        assert_eq!(fixture.store.read_verified(&digest, 7).unwrap(), b"one two");
    }
}

#[test]
fn a_mark_of_replaced_bytes_does_not_bring_back_their_hash() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    let start = upload.mark();
    upload.append(b"old").unwrap();
    let old = upload.mark();
    upload.roll_back(start).unwrap();
    assert!(matches!(upload.roll_back(old.clone()), Err(StoreError::StaleMark { offset: 0, mark: 3, .. })));
    upload.append(b"new bytes").unwrap();
    upload.roll_back(old).unwrap();
    upload.finish(&sha256(b"new")).unwrap();
}

#[test]
fn a_mark_of_another_handle_does_not_bring_its_hash_along() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"old").unwrap();
    let old = upload.mark();
    drop(upload);
    let mut upload = fixture.reopen().unwrap();
    upload.append(b"new bytes").unwrap();
    upload.roll_back(old).unwrap();
    upload.finish(&sha256(b"new")).unwrap();
}

#[test]
fn a_sync_point_is_made_on_the_way() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    let chunk = noise(1024 * 1024);
    let chunks = SYNC_STEP / chunk.len() as u64;
    for _ in 0..=chunks {
        upload.append(&chunk).unwrap();
    }
    drop(upload);
    let mut upload = fixture.reopen().unwrap();
    assert_eq!(upload.offset(), SYNC_STEP);
    upload.append(b"end").unwrap();
    let whole = [chunk.repeat(chunks as usize), b"end".to_vec()].concat();
    upload.finish(&sha256(&whole)).unwrap();
}

#[test]
fn a_session_that_shares_its_file_with_content_is_not_opened() {
    let fixture = Fixture::new();
    let mut upload = fixture.create(Algorithm::Sha256);
    upload.append(b"abc").unwrap();
    upload.sync_point().unwrap();
    drop(upload);
    fs::hard_link(fixture.data_path(), fixture.path("blobs/link")).unwrap();
    assert!(fixture.reopen().is_none());
    assert_eq!(fixture.store.uploads().unwrap(), []);
    assert_eq!(fs::read(fixture.path("blobs/link")).unwrap(), b"abc");
}
