//! The record of an entry on disk (`docs/on-disk-format.md`, "Portal: registry entries").

use storage_backends::checksum::{CHECKSUM_LENGTH, checksum};
use storage_backends::skynet::datakey::DataKey;
use storage_backends::skynet::entry::{ENTRY_DATA_LIMIT, Entry, EntryId, EntryType, SignedEntry};
use storage_backends::skynet::public_key::PublicKey;

const MAGIC: [u8; 8] = *b"SKYENTR\0";
const FORMAT_VERSION: u16 = 1;
/// Bytes before the data.
const HEADER: usize = 152;
/// Longest record, bytes.
pub(super) const RECORD_LIMIT: usize = HEADER + ENTRY_DATA_LIMIT + CHECKSUM_LENGTH;

/// Why there is no entry in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undecodable {
    /// Torn, damaged, forged or something else.
    Damaged,
    /// Whole, and of a later format version.
    Newer(u16),
}

pub(super) fn encode(signed: &SignedEntry) -> Vec<u8> {
    let entry = signed.entry();
    let length = HEADER + entry.data().len() + CHECKSUM_LENGTH;
    let mut record = Vec::with_capacity(length);
    record.extend_from_slice(&MAGIC);
    record.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    record.push(entry.kind() as u8);
    record.push(0);
    record.extend_from_slice(&(length as u32).to_le_bytes());
    record.extend_from_slice(&entry.revision().to_le_bytes());
    record.extend_from_slice(signed.public_key().as_bytes());
    record.extend_from_slice(entry.datakey().as_bytes());
    record.extend_from_slice(signed.signature());
    record.extend_from_slice(entry.data());
    let sum = checksum(&record);
    record.extend_from_slice(&sum);
    record
}

/// The entry of this id. Its signature is verified again: a checksum tells damage, not forgery.
pub(super) fn decode(record: &[u8], id: &EntryId) -> Result<SignedEntry, Undecodable> {
    let (body, sum) = record.split_last_chunk::<CHECKSUM_LENGTH>().ok_or(Undecodable::Damaged)?;
    if *sum != checksum(body) || !body.starts_with(&MAGIC) {
        return Err(Undecodable::Damaged);
    }
    match array(body, 8).map(u16::from_le_bytes) {
        Some(FORMAT_VERSION) => decode_body(body).filter(|entry| entry.id() == *id).ok_or(Undecodable::Damaged),
        Some(version) if version > FORMAT_VERSION => Err(Undecodable::Newer(version)),
        _ => Err(Undecodable::Damaged),
    }
}

fn decode_body(body: &[u8]) -> Option<SignedEntry> {
    let whole = u32::from_le_bytes(array(body, 12)?) as usize == body.len() + CHECKSUM_LENGTH;
    if !whole || *body.get(11)? != 0 {
        return None;
    }
    let kind = EntryType::try_from(*body.get(10)?).ok()?;
    let revision = u64::from_le_bytes(array(body, 16)?);
    let datakey = DataKey::from_bytes(array(body, 56)?);
    let entry = Entry::new(kind, datakey, body.get(HEADER..)?.to_vec(), revision).ok()?;
    entry.signed(PublicKey::from_bytes(array(body, 24)?), array(body, 88)?).ok()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::entry;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_come_back_as_written() {
        for data in [&b""[..], &[7; 34], &[255; ENTRY_DATA_LIMIT]] {
            for revision in [0, 1, u64::MAX] {
                let entry = entry(1, "name", revision, data);
                let record = encode(&entry);
                assert!(record.len() <= RECORD_LIMIT);
                assert_eq!(decode(&record, &entry.id()), Ok(entry));
            }
        }
    }

    /// The layout of the documentation, written out by hand.
    #[test]
    fn fields_stand_where_the_documentation_says() {
        let entry = entry(1, "name", 0x0102_0304_0506_0708, b"abc");
        let record = encode(&entry);
        assert_eq!(record[..16], *b"SKYENTR\0\x01\0\x01\0\xa3\0\0\0");
        assert_eq!(record[16..24], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(record[24..56], *entry.public_key().as_bytes());
        assert_eq!(record[56..88], *entry.entry().datakey().as_bytes());
        assert_eq!(record[88..152], *entry.signature());
        assert_eq!(record[152..155], *b"abc");
        assert_eq!(record[155..], checksum(&record[..155]));
    }

    #[test]
    fn every_torn_or_flipped_record_is_damaged() {
        let entry = entry(1, "name", 5, &[9; 34]);
        let record = encode(&entry);
        for length in 0..record.len() {
            assert_eq!(decode(&record[..length], &entry.id()), Err(Undecodable::Damaged), "cut to {length}");
        }
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped, &entry.id()), Err(Undecodable::Damaged), "bit {bit}");
        }
        let longer = [&record[..], &[0]].concat();
        assert_eq!(decode(&longer, &entry.id()), Err(Undecodable::Damaged));
    }

    #[test]
    fn a_record_under_another_name_is_damaged() {
        let other = entry(1, "another", 0, b"").id();
        assert_eq!(decode(&encode(&entry(1, "name", 0, b"")), &other), Err(Undecodable::Damaged));
    }

    #[test]
    fn a_whole_record_of_a_later_version_is_not_damaged() {
        let entry = entry(1, "name", 0, b"");
        let mut record = encode(&entry);
        record.truncate(record.len() - CHECKSUM_LENGTH);
        record[8] = 2;
        let sum = checksum(&record);
        record.extend_from_slice(&sum);
        assert_eq!(decode(&record, &entry.id()), Err(Undecodable::Newer(2)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(decode(&bytes, &EntryId::from_bytes([0; 32])).is_err());
        }

        /// Behind a checksum that fits stands anything but what was signed.
        #[test]
        fn no_sound_checksum_makes_up_for_a_signature(
            at in 8..186_usize,
            byte: u8,
            revision: u64,
        ) {
            let entry = entry(1, "name", revision, &[3; 34]);
            let mut record = encode(&entry);
            record.truncate(record.len() - CHECKSUM_LENGTH);
            record[at] = byte;
            let sum = checksum(&record);
            record.extend_from_slice(&sum);
            if let Ok(read) = decode(&record, &entry.id()) {
                prop_assert_eq!(read, entry);
            }
        }
    }
}
