//! What can go wrong in the store of entries, told apart by what a caller would do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A failed operation of the store of entries. None says that an entry is absent.
#[derive(Debug, thiserror::Error)]
pub enum EntryStoreError {
    /// The file system or the quota is full.
    #[error("cannot {action} {}: {source}", path.display())]
    DiskFull {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Any other refusal of the system.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// As many entries stand as the operator allows, and this would be one more.
    #[error("the registry of this portal is full: it holds {limit} entries")]
    TooManyEntries {
        /// Entries.
        limit: u64,
    },
    /// The thread that did the work panicked, or the process is about to end.
    #[error("the work on a registry entry was aborted")]
    Aborted(#[from] tokio::task::JoinError),
    /// The record was written by a newer version of this program. It is left alone.
    #[error("{} has format version {version}, which is newer than this program", path.display())]
    NewerFormat {
        /// The record.
        path: PathBuf,
        /// Its format version.
        version: u16,
    },
}

impl EntryStoreError {
    /// Wraps what the system said; made for `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EntryStoreError {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            // ENOSPC and EDQUOT.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                EntryStoreError::DiskFull { action, path, source }
            }
            _ => EntryStoreError::Io { action, path, source },
        }
    }

    /// Whether more room would have made it succeed.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, EntryStoreError::DiskFull { .. })
    }
}
