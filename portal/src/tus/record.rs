//! The state record of a resumable upload (`docs/on-disk-format.md`, "Portal: resumable uploads").

use std::time::SystemTime;

use content_store::UploadId;
use content_store::record::{Format, Undecodable, time_field};
use content_store::staging::SessionState;
use skynet_formats::skylink::Skylink;

use super::concatenation::{Concatenation, PARTS_LIMIT};
use super::upload_metadata::{UPLOAD_METADATA_LIMIT, UploadMetadata};

/// Bytes of the fields before the list of parts.
const NUMBERS: usize = 76;
/// Bytes of an id in the list of parts, including the space between two.
const PART: usize = 37;
/// Longest fields of a record, bytes.
pub(super) const FIELDS_LIMIT: usize = NUMBERS + PARTS_LIMIT * PART + UPLOAD_METADATA_LIMIT;

/// The recorded state of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Whether it is a single upload, a part, or made of parts.
    pub(crate) concatenation: Concatenation,
    /// Length of the whole upload in bytes.
    pub(crate) length: u64,
    /// The number of bytes already received.
    pub(crate) offset: u64,
    /// The client's metadata.
    pub(crate) metadata: UploadMetadata,
    /// The skylink of a finished upload, whose bytes are in the store. For a part, it is that of its final upload.
    pub(crate) skylink: Option<Skylink>,
    /// The time of its creation.
    pub(crate) started: SystemTime,
    /// The time of the last bytes, or of its end.
    pub(crate) last_activity: SystemTime,
}

impl SessionState for Record {
    const FORMAT: Format = Format::new(*b"SKYTUSU\0", 1, FIELDS_LIMIT);

    fn encode(&self) -> Vec<u8> {
        let parts = match &self.concatenation {
            Concatenation::Final(parts) => parts.iter().map(UploadId::as_str).collect::<Vec<_>>().join(" "),
            Concatenation::None | Concatenation::Partial => String::new(),
        };
        let metadata = self.metadata.to_header();
        let fields: [&[u8]; 10] = [
            &self.length.to_le_bytes(),
            &self.offset.to_le_bytes(),
            &time_field(self.started),
            &time_field(self.last_activity),
            &self.skylink.map_or([0; Skylink::SIZE], Skylink::to_bytes),
            &[0; 2],
            &(parts.len() as u32).to_le_bytes(),
            &(metadata.len() as u32).to_le_bytes(),
            parts.as_bytes(),
            metadata.as_bytes(),
        ];
        Self::FORMAT.encode([kind(&self.concatenation), u8::from(self.skylink.is_some())], &fields)
    }

    fn decode(record: &[u8]) -> Result<Self, Undecodable> {
        Self::FORMAT.decode(record, |[kind, finished], fields| {
            let (length, offset) = (fields.u64()?, fields.u64()?);
            let (started, last_activity) = (fields.time()?, fields.time()?);
            let (skylink, _) = (fields.array()?, fields.u16()?);
            let (parts, metadata) = (fields.u32()?, fields.u32()?);
            let concatenation = concatenation(kind, fields.text(parts as usize)?)?;
            let metadata = UploadMetadata::parse(fields.text(metadata as usize)?).ok()?;
            let skylink = match finished {
                0 => None,
                1 => Some(Skylink::from_bytes(&skylink).ok()?),
                _ => return None,
            };
            let record = Record { concatenation, length, offset, metadata, skylink, started, last_activity };
            (offset <= length).then_some(record)
        })
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn last_activity(&self) -> SystemTime {
        self.last_activity
    }

    fn reach(&mut self, offset: u64, last_activity: SystemTime) {
        (self.offset, self.last_activity) = (offset, last_activity);
    }

    /// The bytes of a final upload are in its parts, and those of a finished one in the store.
    fn has_bytes(&self) -> bool {
        self.skylink.is_none() && !matches!(self.concatenation, Concatenation::Final(_))
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use content_store::checksum::checksum;
    use proptest::prelude::*;

    use super::*;

    fn records() -> Vec<Record> {
        let record = Record {
            concatenation: Concatenation::None,
            length: 0x0102_0304_0506,
            offset: 0x0102_0304_0505,
            metadata: UploadMetadata::parse("filename w7YudHh0,filetype").unwrap(),
            skylink: None,
            started: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            last_activity: UNIX_EPOCH + Duration::from_millis(1_700_000_001_456),
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

    /// The layout of the documentation, written out by hand: uploads of earlier programs stay readable.
    #[test]
    fn fields_stand_where_the_documentation_says() {
        let whole = &records()[2];
        let record = whole.encode();
        let end = record.len() - 8;
        assert_eq!(record[..12], *b"SKYTUSU\0\x01\0\x02\x01");
        assert_eq!(record[12..16], (record.len() as u32).to_le_bytes());
        assert_eq!(record[16..32], [6, 5, 4, 3, 2, 1, 0, 0, 5, 5, 4, 3, 2, 1, 0, 0]);
        assert_eq!(record[32..40], 1_700_000_000_123_u64.to_le_bytes());
        assert_eq!(record[40..48], 1_700_000_001_456_u64.to_le_bytes());
        assert_eq!(record[48..82], whole.skylink.unwrap().to_bytes());
        assert_eq!(record[82..92], [0, 0, 65, 0, 0, 0, 26, 0, 0, 0]);
        let texts = format!("{} {}filename w7YudHh0,filetype", "01".repeat(16), "02".repeat(16));
        assert_eq!(record[92..end], *texts.as_bytes());
        assert_eq!(record[end..], checksum(&record[..end]));
    }

    #[test]
    fn the_longest_record_can_be_read() {
        let parts = (0..PARTS_LIMIT).map(|_| "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap()).collect();
        let metadata = UploadMetadata::parse(&"a".repeat(UPLOAD_METADATA_LIMIT)).unwrap();
        let longest = Record { concatenation: Concatenation::Final(parts), metadata, ..records()[2].clone() };
        assert_eq!(Record::decode(&longest.encode()), Ok(longest));
    }

    proptest! {
        /// Behind a checksum that fits stands anything but a record.
        #[test]
        fn no_bytes_with_a_sound_checksum_panic(
            kept in 0..92_usize,
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
