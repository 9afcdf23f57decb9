//! How far the gateway's records go, as a file: what a start reads to go on where the last one ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use content_store::sync_directory;
use serde::{Deserialize, Serialize};

use super::files;
use crate::oci::Digest;

/// Of what stands beside the file. Records of another format are made anew.
pub(super) const FORMAT: u32 = 2;

/// All content has its record that was held at this sequence of the journal, but for what a walk has not come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) format: u32,
    pub(super) journal: String,
    pub(super) profile: String,
    pub(super) sequence: u64,
    pub(super) walk: Option<Walk>,
}

/// A look at all content that is held, in the order of digests, which is the same after a crash and after a compaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Walk {
    /// All up to this one has its record; `None` at the beginning.
    pub(super) after: Option<Digest>,
}

/// The file.
#[derive(Clone, Debug)]
pub(super) struct StateFile(PathBuf);

impl StateFile {
    pub(super) fn in_directory(directory: &Path) -> Self {
        StateFile(directory.join("state.json"))
    }

    /// `None` if it cannot be told. Blocks.
    pub(super) fn get(&self) -> Option<State> {
        serde_json::from_slice(&fs::read(&self.0).ok()?).ok()
    }

    /// Says, durably, how far they go: after those records are durable. Blocks.
    pub(super) fn set(&self, state: &State) -> io::Result<()> {
        // A crash before the end: what comes after the old state is looked at again.
        files::replace(&self.0, &[&serde_json::to_vec(state)?])
    }

    /// Forgets it, durably. Blocks.
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
        // Of the first format.
        fs::write(&file.0, r#"{"journal":"j","profile":"4MiB/1+4","sequence":7}"#).unwrap();
        assert_eq!(file.get(), None);
        file.remove().unwrap();
        file.remove().unwrap();
        assert!(!file.0.exists());
    }
}
