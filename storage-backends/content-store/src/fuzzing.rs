//! Targets for fuzzing: names from requests, and records from a disk that may have damaged them.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use crate::digest::Digest;
use crate::hasher::Hasher;
use crate::staging::SessionState;
use crate::upload_id::UploadId;
use crate::upload_state::{FIELDS_LIMIT, UploadState};

#[cfg(test)]
#[path = "../../../registry/fuzz/replay.rs"]
mod replay;

/// A name and what it does with an input. A fault is a panic.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[FuzzTarget] = &[("digests", digests), ("upload-state", upload_state)];

fn digests(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    same::<UploadId>(text);
    same::<Digest>(text);
    if let Ok(digest) = text.parse::<Digest>() {
        assert!(!digest.file_name().contains('/'));
        let known = digest.algorithm().is_some();
        assert_eq!(Digest::from_file_name(&digest.file_name()), known.then_some(digest));
    }
    if let Some(digest) = Digest::from_file_name(text) {
        assert_eq!(digest.file_name(), text);
    }
}

/// A record as it is, and the same bytes as the marks and fields of a whole one.
fn upload_state(bytes: &[u8]) {
    decoded(bytes);
    if let Some((marks, fields)) = bytes.split_first_chunk() {
        decoded(&UploadState::FORMAT.encode(*marks, &[&fields[..fields.len().min(FIELDS_LIMIT)]]));
    }
}

fn decoded(record: &[u8]) {
    let Ok(state) = UploadState::decode(record) else { return };
    assert_eq!(UploadState::decode(&state.encode()).as_ref(), Ok(&state));
    let Some(mut hasher) =
        state.hash_state.and_then(|exported| Hasher::import(state.algorithm, &exported, state.offset))
    else {
        return;
    };
    hasher.update(b"more");
    assert_eq!(hasher.finish().algorithm(), Some(state.algorithm));
}

/// What is parsed has the same value after it was written.
fn same<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse().ok(), Some(value));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_file_of_the_corpora_breaks_its_target() {
        super::replay::replay(env!("CARGO_MANIFEST_DIR"), super::TARGETS);
    }
}
