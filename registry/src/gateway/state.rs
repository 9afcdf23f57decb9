//! The state file: how far the gateway's records go. The next start continues from there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use content_store::sync_directory;
use serde::{Deserialize, Serialize};

use super::files;
use crate::oci::Digest;

/// Format of all files of the gateway. Records of another format are rebuilt.
pub(super) const FORMAT: u32 = 2;

/// All content referenced at `sequence` of the journal has its record, except content that `walk` has not reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) format: u32,
    pub(super) journal: String,
    pub(super) profile: String,
    pub(super) sequence: u64,
    pub(super) walk: Option<Walk>,
}

/// A walk over all referenced content in the order of digests. That order survives crashes and compactions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Walk {
    /// The last digest that the walk has passed; `None` at the beginning.
    pub(super) after: Option<Digest>,
}

/// The file with the state.
#[derive(Clone, Debug)]
pub(super) struct StateFile(PathBuf);

impl StateFile {
    pub(super) fn in_directory(directory: &Path) -> Self {
        StateFile(directory.join("state.json"))
    }

    /// The state; `None` if the file is missing or invalid. Blocks.
    pub(super) fn get(&self) -> Option<State> {
        serde_json::from_slice(&fs::read(&self.0).ok()?).ok()
    }

    /// Writes the state durably. The records that it covers must be durable already. Blocks.
    pub(super) fn set(&self, state: &State) -> io::Result<()> {
        // After a crash before the end, the content after the old state is examined again.
        files::replace(&self.0, &[&serde_json::to_vec(state)?])
    }

    /// Removes the file durably. Blocks.
    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.0.parent().map_or(Ok(()), sync_directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_what_was_set_last_or_unknown() {
        let place = tempfile::tempdir().unwrap();
        let file = StateFile::in_directory(place.path());
        assert_eq!(file.get(), None);
        let digest = format!("sha256:{:064x}", 5).parse().unwrap();
        let state = State {
            format: FORMAT,
            journal: "j".into(),
            profile: "4MiB/1+4".into(),
            sequence: 7,
            walk: Some(Walk { after: Some(digest) }),
        };
        file.set(&State { sequence: 3, walk: None, ..state.clone() }).unwrap();
        file.set(&state).unwrap();
        assert_eq!(file.get(), Some(state));
        fs::write(&file.0, "{").unwrap();
        assert_eq!(file.get(), None);
        // A state of the first format.
        fs::write(&file.0, r#"{"journal":"j","profile":"4MiB/1+4","sequence":7}"#).unwrap();
        assert_eq!(file.get(), None);
        file.remove().unwrap();
        file.remove().unwrap();
        assert!(!file.0.exists());
    }
}
