//! Content that comes in any order.

use std::fs;

use crate::digest::{Algorithm, Digest};
use crate::{ContentStore, DIRECT_ALIGNMENT};

#[test]
fn what_came_in_any_order_is_content_once_it_is_whole() {
    let place = tempfile::tempdir().unwrap();
    let store = ContentStore::open(place.path()).unwrap();
    let digest = Digest::of(Algorithm::Sha256, b"one two three");
    let staged = store.stage(13).unwrap();
    staged.write_at(b"three", 8).unwrap();
    assert!(!staged.is(&digest).unwrap());
    staged.write_at(b"one two ", 0).unwrap();
    assert_eq!(staged.read_at(3, 4).unwrap(), b"two");
    assert!(store.uploads().unwrap().is_empty() && staged.is(&digest).unwrap(), "a sweep leaves it alone");
    staged.publish(&digest).unwrap();
    drop(staged);
    assert_eq!(store.read_verified(&digest, 13).unwrap(), b"one two three");
    assert_eq!(fs::read_dir(place.path().join("uploads")).unwrap().count(), 0);
}

#[test]
fn pieces_that_go_to_the_disk_and_pieces_that_go_to_the_page_cache_make_one_file() {
    let place = tempfile::tempdir().unwrap();
    let store = ContentStore::open(place.path()).unwrap();
    let bytes: Vec<u8> = (0..5 * 1024 * 1024 + 777_u32).map(|n| (n / 251) as u8).collect();
    let staged = store.stage(bytes.len() as u64).unwrap();
    let mut memory = vec![0; 4 * 1024 * 1024 + DIRECT_ALIGNMENT];
    let start = memory.as_ptr().align_offset(DIRECT_ALIGNMENT);
    let aligned = &mut memory[start..start + 4 * 1024 * 1024];
    aligned.copy_from_slice(&bytes[1024 * 1024..5 * 1024 * 1024]);
    // Read before it is written: the page cache knows of zeros there.
    assert_eq!(staged.read_at(2, 3 * 1024 * 1024).unwrap(), [0, 0]);
    staged.write_at(aligned, 1024 * 1024).unwrap();
    staged.write_at(&bytes[..1024 * 1024], 0).unwrap();
    staged.write_at(&bytes[5 * 1024 * 1024..], 5 * 1024 * 1024).unwrap();
    assert!(staged.read_at(bytes.len(), 0).unwrap() == bytes);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    assert!(staged.is(&digest).unwrap());
    staged.publish(&digest).unwrap();
    assert!(store.read_verified(&digest, bytes.len() as u64).unwrap() == bytes);
}

#[test]
fn what_did_not_become_whole_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let store = ContentStore::open(place.path()).unwrap();
    let staged = store.stage(1 << 20).unwrap();
    assert_eq!(fs::read_dir(place.path().join("uploads")).unwrap().count(), 1);
    drop(staged);
    assert_eq!(fs::read_dir(place.path().join("uploads")).unwrap().count(), 0);
}
