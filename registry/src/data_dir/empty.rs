//! What does not count as content of a new data directory.

use std::fs;
use std::io;
use std::path::Path;

use super::{LOCK, MARKER_IN_THE_MAKING};

/// Directories that may be mounted or linked from other places. Empty ones do not count.
pub(crate) const PARTS: [&str; 11] = [
    "access",
    "audit",
    "journal",
    "index",
    "blobs",
    "uploads",
    "quarantine",
    "resume",
    "unit-hashes",
    "gateway",
    "portal",
];

/// Directory that mkfs makes at the root of a file system.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";

/// True without content. These entries do not count: `lost+found`, which a new ext4 file system has, the two files that
/// a crash may leave before the marker exists, and empty parts, since other file systems may be mounted there.
pub(super) fn is_empty(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let is_known = [LOST_AND_FOUND, LOCK, MARKER_IN_THE_MAKING].iter().any(|known| name == *known);
        let is_part = PARTS.iter().any(|part| name == *part);
        if !is_known && (!is_part || !is_empty_part(&path.join(name))?) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_empty_part(path: &Path) -> io::Result<bool> {
    if !path.is_dir() {
        return Ok(false);
    }
    for entry in fs::read_dir(path)? {
        if entry?.file_name() != LOST_AND_FOUND {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::{DataDir, DataDirError, Kind};

    #[test]
    fn a_new_volume_with_lost_and_found_is_not_foreign() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(LOST_AND_FOUND)).unwrap();
        drop(DataDir::open(folder.path(), Kind::Registry).unwrap());
        assert!(DataDir::open(folder.path(), Kind::Registry).is_ok());
    }

    /// Index and journal may have file systems of their own.
    #[test]
    fn new_volumes_at_its_parts_are_not_foreign() {
        let folder = tempfile::tempdir().unwrap();
        for part in ["index", "journal"] {
            fs::create_dir_all(folder.path().join(part).join(LOST_AND_FOUND)).unwrap();
        }
        fs::create_dir(folder.path().join("documents")).unwrap();
        assert!(matches!(DataDir::open(folder.path(), Kind::Registry), Err(DataDirError::Foreign(_))));
        fs::remove_dir(folder.path().join("documents")).unwrap();
        fs::write(folder.path().join("index/thesis.tex"), "x").unwrap();
        assert!(matches!(DataDir::open(folder.path(), Kind::Registry), Err(DataDirError::Foreign(_))));
        fs::remove_file(folder.path().join("index/thesis.tex")).unwrap();
        assert!(DataDir::open(folder.path(), Kind::Registry).is_ok());
    }
}
