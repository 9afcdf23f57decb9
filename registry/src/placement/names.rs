//! The endpoints of a backend, and the file with the names that they had when they were last asked.
//!
//! With the file, a start while an endpoint is silent knows its copies. A crash leaves the old file or the new one.
//! Without it, the copies of an endpoint count once it has said who it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use backends::Backend;
use content_store::replace_file;

/// The key of an attached portal among [`Names`], since its address may differ at each start.
pub const ATTACHED: &str = "attached";

/// The names in locators of endpoints, by their URLs.
pub type Names = BTreeMap<String, String>;

/// The names that an earlier process kept. Blocks.
pub fn names_in(path: &Path) -> Names {
    let read = fs::read(path).and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from));
    read.unwrap_or_else(|error: io::Error| {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::warn!(%error, "the names of endpoints cannot be read, so each is asked who it is");
        }
        Names::new()
    })
}

/// Replaces the file. Blocks.
pub(super) fn keep(path: &Path, names: &Names) {
    let kept = serde_json::to_vec(names).map_err(io::Error::from);
    let kept = kept.and_then(|json| replace_file(&[&json[..]], &path.with_extension("new"), path));
    if let Err(error) = kept {
        tracing::warn!(%error, "the names of endpoints cannot be kept");
    }
}

/// The endpoints of a backend: its members, or itself.
pub(super) fn members(backend: &Arc<dyn Backend>) -> Vec<Arc<dyn Backend>> {
    match backend.members() {
        members if members.is_empty() => vec![Arc::clone(backend)],
        members => members,
    }
}
