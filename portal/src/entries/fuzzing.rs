//! Targets for fuzzing: the record of a registry entry.

use skynet_formats::datakey::DataKey;
use skynet_formats::entry::{ENTRY_DATA_LIMIT, EntryId};
use skynet_formats::public_key::PublicKey;

use super::record::{FORMAT, NUMBERS, decode, encode};

/// A record as it is, and the same bytes as the marks and fields of a whole one.
pub(crate) fn record(bytes: &[u8]) {
    decoded(bytes);
    if let Some((marks, fields)) = bytes.split_first_chunk() {
        decoded(&FORMAT.encode(*marks, &[&fields[..fields.len().min(NUMBERS + ENTRY_DATA_LIMIT)]]));
    }
}

fn decoded(record: &[u8]) {
    // Behind the header and the revision.
    let Some((key, datakey)) = record.get(24..88).and_then(|fields| {
        let (key, datakey) = fields.split_first_chunk()?;
        Some((*key, datakey.try_into().ok()?))
    }) else {
        return;
    };
    let id = EntryId::of(&PublicKey::from_bytes(key), &DataKey::from_bytes(datakey));
    if let Ok(entry) = decode(record, &id) {
        assert_eq!(entry.id(), id);
        assert_eq!(encode(&entry), record);
    }
}
