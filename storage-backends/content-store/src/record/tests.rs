//! Tests of records, and of what stands in their place.

use std::fs;

use super::*;
use crate::disk::faults::{Step, clear, plan};
use proptest::prelude::*;

const FORMAT: Format = Format::new(*b"TESTREC\0", 2, 64);

type Content = ([u8; 2], u64, Vec<u8>);

fn content(data: &[u8]) -> Content {
    ([1, 2], 0x0102_0304_0506_0708, data.to_vec())
}

fn encode((marks, number, data): &Content) -> Vec<u8> {
    FORMAT.encode(*marks, &[&number.to_le_bytes(), &(data.len() as u16).to_le_bytes(), data])
}

fn decode_as(format: Format, record: &[u8]) -> Result<Content, Undecodable> {
    format.decode(record, |marks, fields| {
        let (number, length) = (fields.u64()?, fields.u16()?);
        Some((marks, number, fields.bytes(length.into())?.to_vec()))
    })
}

fn decode(record: &[u8]) -> Result<Content, Undecodable> {
    decode_as(FORMAT, record)
}

/// The body with a valid checksum.
fn with_sum(mut body: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&body);
    body.extend_from_slice(&sum);
    body
}

fn body(record: &[u8]) -> Vec<u8> {
    record[..record.len() - CHECKSUM_LENGTH].to_vec()
}

/// A directory with a place for a record.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("record")
    }

    fn temporary(&self) -> PathBuf {
        self.0.path().join("record.tmp")
    }

    fn put(&self, content: &Content) -> Result<(), RecordError> {
        replace(&encode(content), &self.temporary(), &self.path(), true)
    }

    fn read(&self) -> Result<Found<Content>, RecordError> {
        FORMAT.read(&self.path(), decode)
    }
}

/// The layout of the documentation, written out by hand.
#[test]
fn fields_stand_where_the_documentation_says() {
    let record = encode(&content(b"abc"));
    assert_eq!(record[..16], *b"TESTREC\0\x02\0\x01\x02\x25\0\0\0");
    assert_eq!(record[16..29], *b"\x08\x07\x06\x05\x04\x03\x02\x01\x03\0abc");
    assert_eq!(record[29..], checksum(&record[..29]));
    assert_eq!(decode(&record), Ok(content(b"abc")));
}

#[test]
fn every_torn_or_flipped_record_is_garbage() {
    let record = encode(&content(b"abc"));
    for length in 0..record.len() {
        assert_eq!(decode(&record[..length]), Err(Undecodable::Garbage), "cut to {length}");
    }
    for bit in 0..record.len() * 8 {
        let mut flipped = record.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode(&flipped), Err(Undecodable::Garbage), "bit {bit}");
    }
    assert_eq!(decode(&[&record[..], &[0]].concat()), Err(Undecodable::Garbage));
}

#[test]
fn a_record_of_another_kind_is_garbage() {
    let other = Format::new(*b"OTHERRE\0", 2, 64).encode([1, 2], &[&[0; 10]]);
    assert_eq!(decode(&other), Err(Undecodable::Garbage));
}

#[test]
fn a_whole_record_of_a_later_version_is_told_apart_and_an_earlier_one_is_unknown() {
    let record = encode(&content(b"abc"));
    let of_version = |version| {
        let mut body = body(&record);
        body[8] = version;
        with_sum(body)
    };
    assert_eq!(decode(&of_version(3)), Err(Undecodable::Newer(3)));
    assert_eq!(decode(&of_version(1)), Err(Undecodable::Garbage));
}

#[test]
fn a_length_that_does_not_fit_and_fields_that_nobody_read_are_garbage() {
    let record = encode(&content(b"abc"));
    let mut longer = body(&record);
    longer.push(0);
    assert_eq!(decode(&with_sum(longer.clone())), Err(Undecodable::Garbage));
    longer[12] += 1;
    assert_eq!(decode(&with_sum(longer)), Err(Undecodable::Garbage), "a byte after the last field");
}

#[test]
fn a_record_longer_than_its_format_allows_is_garbage() {
    let record = encode(&content(&[7; 54]));
    assert_eq!(decode(&record), Ok(content(&[7; 54])), "the longest one");
    let shorter = Format::new(*b"TESTREC\0", 2, 63);
    assert_eq!(decode_as(shorter, &record), Err(Undecodable::Garbage));
}

#[test]
fn what_stands_in_the_place_is_told_apart() {
    let place = Place::new();
    assert_eq!(place.read().unwrap(), Found::Nothing);
    place.put(&content(b"abc")).unwrap();
    assert_eq!(place.read().unwrap(), Found::Record(content(b"abc")));
    let record = fs::read(place.path()).unwrap();
    for garbage in [Vec::new(), record[..20].to_vec(), vec![0; record.len()], vec![9; 1 << 20], b"notes\n".to_vec()] {
        fs::write(place.path(), garbage).unwrap();
        assert_eq!(place.read().unwrap(), Found::Garbage);
    }
    let mut newer = body(&record);
    newer[8] = 9;
    fs::write(place.path(), with_sum(newer)).unwrap();
    assert!(matches!(place.read(), Err(RecordError::NewerFormat { version: 9, .. })));
    fs::remove_file(place.path()).unwrap();
    fs::create_dir(place.path()).unwrap();
    assert!(matches!(place.read(), Err(RecordError::Io { .. })), "what cannot be read is not absent");
}

#[test]
fn a_step_that_fails_leaves_what_stood_and_no_leftover() {
    for durable in [false, true] {
        for step in [Step::Write, Step::SyncData, Step::Rename] {
            let place = Place::new();
            place.put(&content(b"old")).unwrap();
            plan(step, 0, libc::EIO);
            let replaced = replace(&encode(&content(b"new")), &place.temporary(), &place.path(), durable);
            clear();
            let synced = durable || step != Step::SyncData;
            assert_eq!(replaced.is_err(), synced, "{step:?}");
            let standing = if synced { content(b"old") } else { content(b"new") };
            assert_eq!(place.read().unwrap(), Found::Record(standing), "{step:?}");
            assert!(!place.temporary().exists(), "{step:?}");
        }
    }
}

#[test]
fn leftovers_of_a_crash_are_replaced() {
    let place = Place::new();
    fs::write(place.temporary(), vec![1; 500]).unwrap();
    place.put(&content(b"abc")).unwrap();
    assert_eq!(place.read().unwrap(), Found::Record(content(b"abc")));
}

#[test]
fn times_are_kept_to_the_millisecond() {
    let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    assert_eq!(Fields(&time_field(time)).time(), Some(time));
    assert_eq!(time_field(UNIX_EPOCH - Duration::from_secs(1)), [0; 8]);
    assert!(Fields(&[255; 8]).time().is_some(), "a time that the system cannot have is one that it can");
}

proptest! {
    #[test]
    fn records_come_back_as_written(marks: [u8; 2], number: u64, data in prop::collection::vec(any::<u8>(), 0..=54)) {
        let content = (marks, number, data);
        prop_assert_eq!(decode(&encode(&content)), Ok(content));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        prop_assert!(decode(&bytes).is_err());
    }

    /// Behind a checksum that fits stands anything but a record.
    #[test]
    fn no_bytes_with_a_sound_checksum_panic(kept in 0..29_usize, mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let record = encode(&content(b"abc"));
        let kept = kept.min(bytes.len());
        bytes[..kept].copy_from_slice(&record[..kept]);
        let bytes = with_sum(bytes);
        if let Ok(content) = decode(&bytes) {
            prop_assert_eq!(encode(&content), bytes);
        }
    }
}
