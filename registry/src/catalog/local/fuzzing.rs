//! Targets for fuzzing: entries of the index.

use sled::IVec;

use super::index::directory::Mark;
use super::index::schema::{Key, KeyReader};
use super::index::value::{self, ManifestHead, Meta, checksum, seal, unseal};
use crate::catalog::Placement;
use crate::catalog::fact::ManifestRecord;
use crate::oci::Digest;

/// The length of a key, the key, and a payload.
pub(crate) fn index(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first() else { return };
    let (key, payload) = rest.split_at(rest.len().min(usize::from(*length)));
    assert!(unseal(key, &IVec::from(payload)).is_none(), "a checksum was guessed");
    let sealed = IVec::from(seal(checksum(key, payload), payload));
    assert_eq!(unseal(key, &sealed).map(|(_, payload)| payload).as_deref(), Some(payload));
    read_key(key);
    read_payload(payload);
}

/// What the tables' readers take from a key, in the order of each.
fn read_key(key: &[u8]) {
    let Some(table) = key.first_chunk::<1>() else { return };
    let after = || KeyReader::after(table, key);
    if let Some((repository, reader)) = after().and_then(|mut reader| Some((reader.repository()?, reader))) {
        assert!(key[1..].starts_with(format!("{repository}\0").as_bytes()));
        let mut tagged = KeyReader::after(b"", reader.rest()).expect("every key has this prefix");
        if let Some(tag) = tagged.tag() {
            assert!(reader.rest().starts_with(format!("{tag}\0").as_bytes()));
        }
        let mut named = KeyReader::after(b"", reader.rest()).expect("every key has this prefix");
        if let Some(digest) = named.digest() {
            read_digest(reader.rest(), &digest);
            let _ = (named.tag(), named.digest());
        }
    }
    if let Some((digest, mut reader)) = after().and_then(|mut reader| Some((reader.digest()?, reader))) {
        read_digest(&key[1..], &digest);
        let _ = (reader.kind(), reader.repository(), reader.digest(), reader.rest());
    }
}

/// A digest is written as it was read.
fn read_digest(key: &[u8], digest: &Digest) {
    let written = Key::meta();
    let whole = Key::of(super::index::schema::Table::Meta).digest(digest).bytes();
    assert!(key.starts_with(&whole[written.len()..]));
}

fn read_payload(payload: &[u8]) {
    if let Some(size) = value::read_size(payload) {
        assert_eq!(value::size(size), payload);
    }
    if let Some(visibility) = value::read_visibility(payload) {
        assert_eq!(value::visibility(visibility), payload);
    }
    let _ = value::read_time(payload);
    let _ = (serde_json::from_slice::<Meta>(payload), serde_json::from_slice::<Mark>(payload));
    let head = ManifestHead::read(payload);
    if let Ok(record) = serde_json::from_slice::<ManifestRecord>(payload)
        && payload.starts_with(b"{")
    {
        assert_eq!(head, Some(ManifestHead { media_type: record.media_type.clone(), size: record.size }));
        assert_eq!(serde_json::from_slice(&value::json(&record)).ok(), Some(record));
    }
    if let Ok(placement) = serde_json::from_slice::<Placement>(payload) {
        assert_eq!(serde_json::from_slice(&value::json(&placement)).ok(), Some(placement));
    }
}
