//! The bytes written are those shown in `docs/on-disk-format.md`.

use super::super::record::{self, Role};
use super::super::segment::{HEADER_BYTES, SegmentHeader, first_in_name};
use super::*;
use crate::catalog::fact::MAX_UNITS;

const DOCUMENT: &str = include_str!("../../../../../../docs/on-disk-format.md");

fn section() -> &'static str {
    let from = DOCUMENT.find("\n## Journal\n").expect("the document has a section on the journal");
    let section = &DOCUMENT[from + 4..];
    &section[..section.find("\n## ").unwrap_or(section.len())]
}

#[test]
fn each_fact_is_written_as_the_document_shows() {
    let mut kinds = std::collections::BTreeSet::new();
    for line in section().lines().filter(|line| line.starts_with(r#"{"sequence":"#)) {
        let record: Record = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let frames = record::encode_batch(&id(), record.sequence, record.time, std::slice::from_ref(&record.fact));
        let frames = frames.expect("it is short");
        let frame = record::decode(&frames, &id()).unwrap();
        assert_eq!(std::str::from_utf8(frame.payload).unwrap(), line);
        assert_eq!(frame.record().unwrap(), record);
        kinds.insert(serde_json::to_value(&record).unwrap()["fact"].to_string());
    }
    assert_eq!(kinds.len(), 11, "{kinds:?}");
}

#[test]
fn the_worked_example_is_what_a_new_journal_holds() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    let repository = "library/a".parse().unwrap();
    let visibility = crate::catalog::fact::Visibility::Public;
    journal.append(&[Fact::Repository { repository, visibility }], 1_700_000_000_000, AppendKind::Ordinary).unwrap();
    compact(&mut journal);
    for (name, bytes) in [(segment(2), 64), (snapshot(1), 256)] {
        let found = fs::read(directory.path().join(&name)).unwrap();
        let dump = dump(&found[..bytes.min(found.len())]);
        assert!(section().contains(&dump), "{name}:\n{dump}");
    }
}

/// Lines of 16 bytes.
fn dump(bytes: &[u8]) -> String {
    let line = |(index, bytes): (usize, &[u8])| {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:04x}  {}\n", index * 16, hex.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

#[test]
fn a_header_comes_back() {
    let header = SegmentHeader { id: id(), first: 7, length: 1024 };
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    fill(&mut journal, &[6]);
    journal.begin_compaction().unwrap();
    let bytes = fs::read(directory.path().join(segment(7))).unwrap();
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
    assert!(bytes[HEADER_BYTES..].iter().all(|byte| *byte == 0));
}

/// The number after the highest one overflowed.
#[test]
fn a_number_that_no_journal_reaches_is_invalid_in_a_record_and_in_a_name() {
    let frame = |sequence| {
        let mut bytes = Vec::new();
        record::encode(&mut bytes, &id(), sequence, Role::Entry, b"{}");
        record::decode(&bytes, &id()).map(|frame| frame.sequence)
    };
    let highest = record::MAX_SEQUENCE;
    assert_eq!(frame(highest), Ok(highest));
    assert_eq!(first_in_name(&segment(highest)), Some(highest));
    for impossible in [highest + 1, u64::MAX] {
        assert_eq!(frame(impossible), Err(record::FrameError::Sequence));
        assert_eq!(first_in_name(&segment(impossible)), None);
    }
}

/// The length of the list overflowed.
#[test]
fn a_number_of_unit_roots_that_no_content_has_is_invalid_in_a_record() {
    let (blob, list) = (format!("sha256:{:064x}", 1), format!("sha256:{:064x}", 2));
    let record = |units: u64| {
        let fact = format!(r#""fact":"unit-roots","digest":"{blob}","list":"{list}","units":{units}"#);
        let payload = format!(r#"{{"sequence":1,"time":1,{fact}}}"#);
        record::Frame { role: Role::Entry, sequence: 1, payload: payload.as_bytes() }.record().map(|_| ())
    };
    assert_eq!(record(MAX_UNITS), Ok(()));
    for impossible in [MAX_UNITS + 1, u64::MAX] {
        assert_eq!(record(impossible), Err(record::FrameError::Payload));
    }
}

proptest::proptest! {
    #[test]
    fn a_frame_comes_back_and_no_other_sequence_or_journal_takes_it(
        payload in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..100),
        sequence in 1..=record::MAX_SEQUENCE,
        index in 0_u32..1 << 20,
        last: bool,
        other: [u8; 16],
    ) {
        let role = Role::InBatch { index, last };
        let mut bytes = Vec::new();
        record::encode(&mut bytes, &id(), sequence, role, &payload);
        proptest::prop_assert_eq!(bytes.len() % 8, 0);
        let frame = record::decode(&bytes, &id()).unwrap();
        proptest::prop_assert_eq!((frame.role, frame.sequence, frame.payload), (role, sequence, &payload[..]));
        proptest::prop_assert!(record::decode(&bytes, &JournalId::from_bytes(other)).is_err());
        bytes[16] ^= 1;
        proptest::prop_assert!(record::decode(&bytes, &id()).is_err());
    }
}
