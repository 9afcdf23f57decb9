//! Targets for fuzzing: the headers and the record of a resumable upload.

use std::collections::BTreeSet;

use content_store::UploadId;
use content_store::staging::SessionState;
use skynet_formats::metadata::Metadata;

use super::concatenation::{Concatenation, PARTS_LIMIT};
use super::record::{FIELDS_LIMIT, Record};
use super::skyfile_metadata::skyfile_metadata;
use super::upload_metadata::UploadMetadata;

/// `Upload-Length`, `Upload-Concat` and `Upload-Metadata`, a line each.
pub(crate) fn headers(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let (length, concat, metadata) = (lines.next(), lines.next(), lines.next().unwrap_or_default());
    if let Ok(Concatenation::Final(parts)) = Concatenation::parse(concat) {
        assert!((1..=PARTS_LIMIT).contains(&parts.len()));
        assert_eq!(parts.iter().map(UploadId::as_str).collect::<BTreeSet<_>>().len(), parts.len());
    }
    let Ok(upload) = UploadMetadata::parse(metadata) else { return };
    let written = upload.to_header();
    assert!(written.len() <= metadata.len(), "{written:?}");
    assert_eq!(UploadMetadata::parse(&written).as_ref(), Ok(&upload));
    let Some(length) = length.and_then(|length| length.parse().ok()) else { return };
    if let Ok(made) = skyfile_metadata(&upload, length, &UploadId::from_random([7; 16])) {
        assert_eq!(Metadata::parse(&made).expect("metadata of an upload").content_length(), length);
    }
}

/// A record as it is, and the same bytes as the marks and fields of a whole one.
pub(crate) fn record(bytes: &[u8]) {
    decoded(bytes);
    if let Some((marks, fields)) = bytes.split_first_chunk() {
        decoded(&Record::FORMAT.encode(*marks, &[&fields[..fields.len().min(FIELDS_LIMIT)]]));
    }
}

fn decoded(record: &[u8]) {
    if let Ok(state) = Record::decode(record) {
        assert!(state.offset <= state.length);
        assert_eq!(Record::decode(&state.encode()), Ok(state));
    }
}
