//! Targets for fuzzing: the gateway's files.

use super::records::Skyfile;
use super::state::State;

/// A record, and the state.
pub(crate) fn record(bytes: &[u8]) {
    if let Some(record) = std::str::from_utf8(bytes).ok().and_then(Skyfile::parse) {
        assert_eq!(Skyfile::parse(&record.to_text()), Some(record));
    }
    if let Ok(state) = serde_json::from_slice::<State>(bytes) {
        let written = serde_json::to_vec(&state).expect("texts and numbers");
        assert_eq!(serde_json::from_slice(&written).ok(), Some(state));
    }
}
