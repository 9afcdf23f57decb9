//! The vectors of siad and the SDKs, and entries for all tests of the registry.

use std::ops::Range;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use proptest::prelude::*;

use super::*;

pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap()
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// The entry of the proof that skynet-js tests with, written by a real portal.
pub(crate) fn portal_entry() -> SignedEntry {
    let data = unhex("5c006f8bb26d25b412300703c275279a9d852833e383cfed4d314fe01c0c4b155d12");
    let datakey = "43c8a9b01609544ab152dad397afc3b56c1518eb546750dbc6cad5944fec0292".parse().unwrap();
    let key = "ed25519:cbf97df45c9f166e893e164be714a4aee840d3a421f66e52f6b9e2a5009cfabc".parse().unwrap();
    let signature = unhex(
        "5a1437508eedb6f5352d7f744693908a91bb05c01370ce4743de9c25f761b4e8\
         7760b8172448c073a4ddd9d58d1a2bf978b3227e57e4fa8cbe830a2353be2207",
    );
    let entry = Entry::new(EntryType::Plain, datakey, data, 0).unwrap();
    entry.signed(key, signature.try_into().unwrap()).expect("what a portal stored is valid")
}

/// Up to `limit` bytes.
pub(crate) fn data(limit: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..3_u8, 0..=limit)
}

/// An entry at one datakey; half of them of type 2, with one of two hosts before the data.
pub(crate) fn entry(revisions: Range<u64>, data: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Entry> {
    (revisions, data, prop::option::of(0..2_u8)).prop_map(|(revision, data, host)| {
        let datakey = DataKey::of_name("the only one");
        match host {
            None => Entry::new(EntryType::Plain, datakey, data, revision).unwrap(),
            Some(host) => {
                let data = [&[host; HOST_KEY_HASH_LENGTH][..], &data].concat();
                Entry::new(EntryType::HostKey, datakey, data, revision).unwrap()
            }
        }
    })
}

pub(crate) fn any_signed_entry() -> impl Strategy<Value = SignedEntry> {
    let data = prop::collection::vec(any::<u8>(), 0..=ENTRY_DATA_LIMIT - HOST_KEY_HASH_LENGTH);
    (entry(0..u64::MAX, data), 0..4_u8).prop_map(|(entry, seed)| entry.sign(&key(seed)))
}

#[test]
fn the_id_is_that_of_the_sdks() {
    let key = "ed25519:a1790331b8b41a94644d01a7b482564e7049047812364bcabc32d399ad23f7e2".parse().unwrap();
    let datakey = "d321b3c31337047493c9b5a99675e9bdaea44218a31aad2fd7738209e7a5aca1".parse().unwrap();
    let skylink = data_encoding::BASE64URL_NOPAD.decode(b"AQB7zHVDtD-PikoAD_0zzFbWWPcY-IJoJRHXFJcwoU-WvQ").unwrap();
    assert_eq!(EntryId::of(&key, &datakey).as_bytes()[..], skylink[2..]);
    assert_eq!(skylink[..2], [1, 0]);
}

/// Both are in siad's own test.
#[test]
fn the_signed_hash_is_that_of_siad() {
    let hash = |kind| {
        let entry = Entry::new(kind, DataKey::of_name("HelloWorld"), b"abc".to_vec(), 123_456_789);
        // siad hashes this one although it is too short for its type.
        let entry = entry.unwrap_or(Entry {
            kind,
            datakey: DataKey::of_name("HelloWorld"),
            data: b"abc".to_vec(),
            revision: 123_456_789,
        });
        HEXLOWER.encode(&entry.message())
    };
    assert_eq!(hash(EntryType::Plain), "788dddf5232807611557a3dc0fa5f34012c2650526ba91d55411a2b04ba56164");
    assert_eq!(hash(EntryType::HostKey), "f76214bd0a2aae1783027124c587b741398dd268cce9a3457ac434af620a8f86");
}

#[test]
fn what_a_portal_stored_verifies() {
    let entry = portal_entry();
    let skylink = data_encoding::BASE64URL_NOPAD.decode(b"AQDwh1jnoZas9LaLHC_D4-2yP9XYDdZzNtz62H4Dww1jDA").unwrap();
    assert_eq!(entry.id().as_bytes()[..], skylink[2..]);
}

#[test]
fn every_field_is_signed() {
    let SignedEntry { public_key, entry, signature } = portal_entry();
    let refused = |entry: Entry, key| entry.signed(key, signature) == Err(EntryError::Signature(InvalidSignature));
    assert!(!refused(entry.clone(), public_key));
    assert!(refused(Entry { kind: EntryType::HostKey, ..entry.clone() }, public_key));
    assert!(refused(Entry { revision: 1, ..entry.clone() }, public_key));
    assert!(refused(Entry { datakey: DataKey::of_name(""), ..entry.clone() }, public_key));
    assert!(refused(Entry { data: vec![0; 34], ..entry.clone() }, public_key));
    assert!(refused(entry, key(1).verifying_key().into()));
}

#[test]
fn entries_have_their_limits() {
    let datakey = DataKey::of_name("");
    let new = |kind, length| Entry::new(kind, datakey, vec![0; length], u64::MAX).err();
    assert_eq!(new(EntryType::Plain, 0), None);
    assert_eq!(new(EntryType::Plain, ENTRY_DATA_LIMIT), None);
    assert_eq!(new(EntryType::Plain, ENTRY_DATA_LIMIT + 1), Some(EntryError::TooMuchData(114)));
    assert_eq!(new(EntryType::HostKey, HOST_KEY_HASH_LENGTH - 1), Some(EntryError::NoHostKey));
    assert_eq!(new(EntryType::HostKey, HOST_KEY_HASH_LENGTH), None);
    for number in [0, 3, 255] {
        assert_eq!(EntryType::try_from(number), Err(EntryError::UnknownType(number)));
    }
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_nothing_else_does(entry in any_signed_entry(), bit in 0..512_usize) {
        let SignedEntry { public_key, entry, mut signature } = entry;
        prop_assert!(entry.clone().signed(public_key, signature).is_ok());
        signature[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(entry.signed(public_key, signature).is_err());
    }
}
