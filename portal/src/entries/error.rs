//! Errors of the store of entries, distinguished by the reaction that a caller has.

use std::io;
use std::path::Path;
use std::time::Duration;

use content_store::record::RecordError;

/// A failed operation of the store of entries. No variant means that an entry is absent.
#[derive(Debug, thiserror::Error)]
pub enum EntryStoreError {
    /// A file or a directory cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The number of entries has reached the operator's limit.
    #[error("the registry of this portal is full: it holds {limit} entries")]
    TooManyEntries {
        /// The limit, in entries.
        limit: u64,
    },
    /// The client has added as many entries as one client may.
    #[error("this client has added half of the {limit} entries that this portal holds")]
    ShareUsedUp {
        /// The limit of all entries.
        limit: u64,
    },
    /// The client has looked up absent entries too often.
    #[error("too many lookups of absent registry entries from this address, try again later")]
    TooManyLookups {
        /// Time until the next one.
        wait: Duration,
    },
    /// The thread that did the work panicked, or the process is about to end.
    #[error("the work on a registry entry was aborted")]
    Aborted(#[from] tokio::task::JoinError),
}

impl EntryStoreError {
    /// Wraps an error of the system; made for `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EntryStoreError {
        let wrap = RecordError::io(action, path);
        move |source| EntryStoreError::Record(wrap(source))
    }

    /// True if it failed for lack of space.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, EntryStoreError::Record(error) if error.is_disk_full())
    }
}
