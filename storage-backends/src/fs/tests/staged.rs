//! Content that comes in any order.

use std::fs;

use crate::digest::{Algorithm, Digest};
use crate::fs::ContentStore;

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
fn what_did_not_become_whole_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let store = ContentStore::open(place.path()).unwrap();
    let staged = store.stage(1 << 40).unwrap();
    assert_eq!(fs::read_dir(place.path().join("uploads")).unwrap().count(), 1);
    drop(staged);
    assert_eq!(fs::read_dir(place.path().join("uploads")).unwrap().count(), 0);
}
