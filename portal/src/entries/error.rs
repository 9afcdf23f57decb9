//! What can go wrong in the store of entries, told apart by what a caller would do about it.

use std::io;
use std::path::Path;

use content_store::record::RecordError;

/// A failed operation of the store of entries. None says that an entry is absent.
#[derive(Debug, thiserror::Error)]
pub enum EntryStoreError {
    /// A file or a directory cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// As many entries stand as the operator allows, and this would be one more.
    #[error("the registry of this portal is full: it holds {limit} entries")]
    TooManyEntries {
        /// Entries.
        limit: u64,
    },
    /// The thread that did the work panicked, or the process is about to end.
    #[error("the work on a registry entry was aborted")]
    Aborted(#[from] tokio::task::JoinError),
}

impl EntryStoreError {
    /// Wraps what the system said; made for `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EntryStoreError {
        let wrap = RecordError::io(action, path);
        move |source| EntryStoreError::Record(wrap(source))
    }

    /// Whether more room would have made it succeed.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, EntryStoreError::Record(error) if error.is_disk_full())
    }
}
