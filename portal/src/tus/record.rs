//! The state record of a resumable upload (`docs/on-disk-format.md`, "Portal: resumable uploads").

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use storage_backends::checksum::{CHECKSUM_LENGTH, checksum};
use storage_backends::fs::UploadId;
use storage_backends::skynet::skylink::Skylink;

use super::concatenation::{Concatenation, PARTS_LIMIT};
use super::upload_metadata::{UPLOAD_METADATA_LIMIT, UploadMetadata};

const MAGIC: [u8; 8] = *b"SKYTUSU\0";
const FORMAT_VERSION: u16 = 1;
/// Bytes before the list of parts.
const HEADER: usize = 92;
/// Bytes of an id in the list of parts, and of the space between two.
const PART: usize = 37;
/// Longest record, bytes.
pub(super) const RECORD_LIMIT: usize = HEADER + PARTS_LIMIT * PART + UPLOAD_METADATA_LIMIT + CHECKSUM_LENGTH;

/// What is known of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Whether it is a part, or made of parts.
    pub(crate) concatenation: Concatenation,
    /// Bytes that it will have.
    pub(crate) length: u64,
    /// So many of them are there.
    pub(crate) offset: u64,
    /// What the client said of it.
    pub(crate) metadata: UploadMetadata,
    /// What it became: it is finished, and its bytes are in the store. Of a part: what it became a part of.
    pub(crate) skylink: Option<Skylink>,
    /// When it was made.
    pub(crate) started: SystemTime,
    /// When bytes came last, or it was finished.
    pub(crate) last_activity: SystemTime,
}

/// Why there is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undecodable {
    /// Torn, damaged or something else.
    Garbage,
    /// Whole, and of a later format version.
    Newer(u16),
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let parts = match &self.concatenation {
            Concatenation::Final(parts) => parts.iter().map(UploadId::as_str).collect::<Vec<_>>().join(" "),
            Concatenation::None | Concatenation::Partial => String::new(),
        };
        let metadata = self.metadata.to_header();
        let length = HEADER + parts.len() + metadata.len() + CHECKSUM_LENGTH;
        let mut record = Vec::with_capacity(length);
        record.extend_from_slice(&MAGIC);
        record.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        record.push(kind(&self.concatenation));
        record.push(u8::from(self.skylink.is_some()));
        record.extend_from_slice(&(length as u32).to_le_bytes());
        record.extend_from_slice(&self.length.to_le_bytes());
        record.extend_from_slice(&self.offset.to_le_bytes());
        record.extend_from_slice(&to_milliseconds(self.started).to_le_bytes());
        record.extend_from_slice(&to_milliseconds(self.last_activity).to_le_bytes());
        record.extend_from_slice(&self.skylink.map_or([0; Skylink::SIZE], Skylink::to_bytes));
        record.extend_from_slice(&[0; 2]);
        record.extend_from_slice(&(parts.len() as u32).to_le_bytes());
        record.extend_from_slice(&(metadata.len() as u32).to_le_bytes());
        record.extend_from_slice(parts.as_bytes());
        record.extend_from_slice(metadata.as_bytes());
        let sum = checksum(&record);
        record.extend_from_slice(&sum);
        record
    }

    pub(super) fn decode(record: &[u8]) -> Result<Self, Undecodable> {
        let (body, sum) = record.split_last_chunk::<CHECKSUM_LENGTH>().ok_or(Undecodable::Garbage)?;
        if *sum != checksum(body) || !body.starts_with(&MAGIC) {
            return Err(Undecodable::Garbage);
        }
        match array(body, 8).map(u16::from_le_bytes) {
            Some(FORMAT_VERSION) => Self::decode_body(body).ok_or(Undecodable::Garbage),
            Some(version) if version > FORMAT_VERSION => Err(Undecodable::Newer(version)),
            _ => Err(Undecodable::Garbage),
        }
    }

    fn decode_body(body: &[u8]) -> Option<Self> {
        let whole = u32::from_le_bytes(array(body, 12)?) as usize == body.len() + CHECKSUM_LENGTH;
        let parts_end = HEADER.checked_add(u32::from_le_bytes(array(body, 84)?) as usize)?;
        let parts = std::str::from_utf8(body.get(HEADER..parts_end)?).ok()?;
        let metadata = std::str::from_utf8(body.get(parts_end..)?).ok()?;
        let fits = metadata.len() == u32::from_le_bytes(array(body, 88)?) as usize;
        let (length, offset) = (u64::from_le_bytes(array(body, 16)?), u64::from_le_bytes(array(body, 24)?));
        if !whole || !fits || offset > length {
            return None;
        }
        let skylink = match *body.get(11)? {
            0 => None,
            1 => Some(Skylink::from_bytes(&array(body, 48)?).ok()?),
            _ => return None,
        };
        Some(Record {
            concatenation: concatenation(*body.get(10)?, parts)?,
            length,
            offset,
            metadata: UploadMetadata::parse(metadata).ok()?,
            skylink,
            started: from_milliseconds(u64::from_le_bytes(array(body, 32)?)),
            last_activity: from_milliseconds(u64::from_le_bytes(array(body, 40)?)),
        })
    }
}

fn kind(concatenation: &Concatenation) -> u8 {
    match concatenation {
        Concatenation::None => 0,
        Concatenation::Partial => 1,
        Concatenation::Final(_) => 2,
    }
}

fn concatenation(kind: u8, parts: &str) -> Option<Concatenation> {
    match kind {
        0 if parts.is_empty() => Some(Concatenation::None),
        1 if parts.is_empty() => Some(Concatenation::Partial),
        2 => parts.split(' ').map(|id| id.parse().ok()).collect::<Option<_>>().map(Concatenation::Final),
        _ => None,
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn to_milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}

fn from_milliseconds(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records() -> Vec<Record> {
        let record = Record {
            concatenation: Concatenation::None,
            length: 0x0102_0304_0506,
            offset: 0x0102_0304_0505,
            metadata: UploadMetadata::parse("filename w7YudHh0,filetype").unwrap(),
            skylink: None,
            started: from_milliseconds(1_700_000_000_123),
            last_activity: from_milliseconds(1_700_000_001_456),
        };
        let part =
            Record { concatenation: Concatenation::Partial, metadata: UploadMetadata::default(), ..record.clone() };
        let parts = vec![UploadId::from_random([1; 16]), UploadId::from_random([2; 16])];
        let whole = Record {
            concatenation: Concatenation::Final(parts),
            skylink: Some("AAB1QJWQV0y2ynDXnJvOt0uh-THq-pJj2_layW5fjPXhTQ".parse().unwrap()),
            ..record.clone()
        };
        vec![record, part, whole]
    }

    #[test]
    fn records_come_back_as_written() {
        for record in records() {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn every_torn_or_flipped_record_is_garbage() {
        for record in records() {
            let record = record.encode();
            for length in 0..record.len() {
                assert_eq!(Record::decode(&record[..length]), Err(Undecodable::Garbage), "cut to {length}");
            }
            for bit in 0..record.len() * 8 {
                let mut flipped = record.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Record::decode(&flipped), Err(Undecodable::Garbage), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_whole_record_of_a_later_version_is_not_garbage() {
        let mut record = records()[0].encode();
        record.truncate(record.len() - CHECKSUM_LENGTH);
        record[8] = 2;
        let sum = checksum(&record);
        record.extend_from_slice(&sum);
        assert_eq!(Record::decode(&record), Err(Undecodable::Newer(2)));
    }

    #[test]
    fn the_longest_record_is_within_the_limit() {
        let parts = (0..PARTS_LIMIT).map(|_| "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap()).collect();
        let metadata = UploadMetadata::parse(&"a".repeat(UPLOAD_METADATA_LIMIT)).unwrap();
        let longest = Record { concatenation: Concatenation::Final(parts), metadata, ..records()[2].clone() };
        assert!(longest.encode().len() <= RECORD_LIMIT);
        assert_eq!(Record::decode(&longest.encode()), Ok(longest));
    }

    proptest! {
        /// Behind a checksum that fits stands anything but a record.
        #[test]
        fn no_bytes_with_a_sound_checksum_panic(
            kept in 0..HEADER,
            mut bytes in prop::collection::vec(any::<u8>(), 0..300),
            which in 0..3_usize,
        ) {
            let record = records()[which].encode();
            let kept = kept.min(bytes.len());
            bytes[..kept].copy_from_slice(&record[..kept]);
            let sum = checksum(&bytes);
            bytes.extend_from_slice(&sum);
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert!(record.offset <= record.length);
            }
        }
    }
}
