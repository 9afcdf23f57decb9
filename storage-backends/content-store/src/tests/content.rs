//! Content files: written, read, checked, listed, moved away.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::{Fixture, noise, sha256};
use crate::digest::{Algorithm, Digest};
use crate::{ContentStore, StoreError, Verdict, full_speed};

#[test]
fn small_content_comes_back_in_each_algorithm_without_aliases() {
    let fixture = Fixture::new();
    for algorithm in Algorithm::ALL {
        for bytes in [Vec::new(), b"abc".to_vec(), noise(700_000)] {
            let digest = Digest::of(algorithm, &bytes);
            assert_eq!(fixture.store.stat(&digest).unwrap(), None);
            fixture.store.put_bytes(&digest, &bytes).unwrap();
            let length = bytes.len() as u64;
            assert_eq!(fixture.store.stat(&digest).unwrap(), Some(length));
            assert_eq!(fixture.store.read_verified(&digest, length).unwrap(), bytes);
            let mut read = Vec::new();
            fixture.store.open_content(&digest, length).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes);
            assert_eq!(fs::metadata(fixture.content_path(&digest)).unwrap().permissions().mode() & 0o777, 0o400);
        }
    }
    assert_eq!(fixture.store.walk().count(), 9);
    assert!(fixture.names("uploads").is_empty());
}

#[test]
fn putting_twice_changes_nothing_and_putting_over_damage_heals() {
    let fixture = Fixture::new();
    let bytes = noise(300_000);
    let digest = sha256(&bytes);
    let path = fixture.content_path(&digest);
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&path).unwrap());

    fixture.store.put_bytes(&digest, &bytes).unwrap();
    let first = inode();
    fixture.store.put_bytes(&digest, &bytes).unwrap();
    assert_eq!(inode(), first, "identical content stays");

    let mut flipped = bytes.clone();
    flipped[299_999] ^= 1;
    for damage in [&flipped[..], &bytes[..100], b""] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, damage).unwrap();
        fixture.store.put_bytes(&digest, &bytes).unwrap();
        assert_eq!(fixture.store.read_verified(&digest, 300_000).unwrap(), bytes);
    }
}

#[test]
fn damage_is_seen_by_length_by_reading_and_by_verifying() {
    let fixture = Fixture::new();
    let bytes = noise(600_000);
    let digest = sha256(&bytes);
    fixture.store.put_bytes(&digest, &bytes).unwrap();
    let mut steps = Vec::new();
    assert_eq!(
        fixture
            .store
            .verify(&digest, &mut |step| {
                steps.push(step);
                std::ops::ControlFlow::Continue(())
            })
            .unwrap(),
        Verdict::Sound
    );
    assert_eq!(steps.iter().sum::<u64>(), 600_000);
    assert!(steps.len() >= 3 && steps.iter().all(|step| *step <= 256 * 1024));

    let wrong = fixture.store.open_content(&digest, 600_001).unwrap_err();
    assert!(matches!(wrong, StoreError::WrongLength { expected: 600_001, found: 600_000, .. }));

    let mut flipped = bytes;
    flipped[300_000] ^= 0x10;
    fs::remove_file(fixture.content_path(&digest)).unwrap();
    fs::write(fixture.content_path(&digest), &flipped).unwrap();
    assert_eq!(fixture.store.verify(&digest, &mut full_speed).unwrap(), Verdict::Corrupt);
    let corrupt = fixture.store.read_verified(&digest, 600_000).unwrap_err();
    assert!(matches!(corrupt, StoreError::Corrupt { computed, .. } if computed == sha256(&flipped)));
}

#[test]
fn what_is_absent_or_of_a_foreign_algorithm_is_missing() {
    let fixture = Fixture::new();
    for digest in [sha256(b"absent"), "md5:900150983cd24fb0d6963f7d28e17f72".parse().unwrap()] {
        assert_eq!(fixture.store.stat(&digest).unwrap(), None);
        assert!(!fixture.store.remove(&digest).unwrap());
        assert_eq!(fixture.store.verify(&digest, &mut full_speed).unwrap(), Verdict::Missing);
        assert!(matches!(fixture.store.open_content(&digest, 0), Err(StoreError::Missing { .. })));
        assert!(matches!(fixture.store.quarantine(&digest), Err(StoreError::Missing { .. })));
    }
    let foreign = "md5:900150983cd24fb0d6963f7d28e17f72".parse().unwrap();
    assert!(matches!(fixture.store.put_bytes(&foreign, b"abc"), Err(StoreError::UnsupportedAlgorithm { .. })));
}

#[test]
fn removed_content_is_gone_and_can_come_again() {
    let fixture = Fixture::new();
    let digest = sha256(b"abc");
    for _ in 0..2 {
        fixture.store.put_bytes(&digest, b"abc").unwrap();
        assert!(fixture.store.remove(&digest).unwrap());
        assert!(!fixture.store.remove(&digest).unwrap());
        assert_eq!(fixture.store.stat(&digest).unwrap(), None);
    }
}

#[test]
fn quarantine_keeps_every_version_of_damaged_content() {
    let fixture = Fixture::new();
    let digest = sha256(b"abc");
    let mut kept = Vec::new();
    for _ in 0..3 {
        fixture.store.put_bytes(&digest, b"abc").unwrap();
        kept.push(fixture.store.quarantine(&digest).unwrap());
        assert_eq!(fixture.store.stat(&digest).unwrap(), None);
    }
    assert_eq!(fixture.names("quarantine").len(), 3);
    for path in kept {
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("sha256-{}-", digest.encoded())), "{name}");
    }
}

#[test]
fn walking_lists_all_content_and_reports_strangers_untouched() {
    let fixture = Fixture::new();
    let mut expected = BTreeMap::new();
    for n in 0..40_usize {
        let bytes = noise(n);
        let digest = Digest::of(Algorithm::ALL[n % 3], &bytes);
        fixture.store.put_bytes(&digest, &bytes).unwrap();
        expected.insert(digest, n as u64);
    }
    let hex = "ab".repeat(32);
    let wrong_directory = format!("blobs/sha256/00/{hex}");
    let directory_as_content = format!("blobs/sha256/ab/{hex}");
    let files = ["blobs/README", "blobs/sha256/file", "blobs/blake3/ab/short", &wrong_directory];
    let directories = ["blobs/md5/ab", "blobs/sha512/AB", "blobs/sha256/abc", &directory_as_content];
    for directory in directories {
        fs::create_dir_all(fixture.path(directory)).unwrap();
    }
    for file in files {
        fs::create_dir_all(fixture.path(file).parent().unwrap()).unwrap();
        fs::write(fixture.path(file), b"?").unwrap();
    }

    let mut found = BTreeMap::new();
    let mut strangers = Vec::new();
    for item in fixture.store.walk() {
        match item {
            Ok(content) => assert_eq!(found.insert(content.digest, content.length), None),
            Err(StoreError::Stranger(path)) => strangers.push(path),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(found, expected);
    let mut all: Vec<_> = files.iter().chain(&directories).map(|below| fixture.path(below)).collect();
    all[4] = fixture.path("blobs/md5");
    all.sort();
    strangers.sort();
    assert_eq!(strangers, all);
    assert!(all.iter().all(|path| path.exists()));
}

#[test]
fn opening_makes_the_directories_and_finds_them_again() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("deep/er");
    ContentStore::open(&root).unwrap().put_bytes(&sha256(b"abc"), b"abc").unwrap();
    let again = ContentStore::open(&root).unwrap();
    assert_eq!(again.read_verified(&sha256(b"abc"), 3).unwrap(), b"abc");
    assert!(again.free_space().unwrap() > 0);
    for below in ["blobs/sha256", "blobs/sha512", "blobs/blake3", "uploads", "quarantine"] {
        assert!(root.join(below).is_dir(), "{below}");
    }
}

#[test]
fn a_root_that_cannot_be_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(ContentStore::open(&file), Err(StoreError::Io { .. })));

    let root = directory.path().join("read-only");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(root.join("probe"), b"").is_ok() {
        eprintln!("skipped the rest: this user may write to read-only directories");
        return;
    }
    let refused = ContentStore::open(&root).unwrap_err();
    assert!(matches!(&refused, StoreError::NotWritable { path, .. } if path.starts_with(&root)), "{refused}");
}

/// Each push would fail at its last step.
#[test]
fn directories_on_different_mounts_are_refused() {
    let (here, memory) = (tempfile::tempdir().unwrap(), Path::new("/dev/shm"));
    let device = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.dev());
    if device(memory) == 0 || device(memory) == device(here.path()) {
        return;
    }
    let elsewhere = tempfile::tempdir_in(memory).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), here.path().join("blobs")).unwrap();
    let error = ContentStore::open(here.path()).unwrap_err();
    assert!(matches!(error, StoreError::Apart { .. }), "{error}");
}
