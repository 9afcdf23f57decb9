//! Errors of opening, appending to, and reading a journal.

use std::io;
use std::path::PathBuf;

use super::record::JournalId;

/// Why a journal could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system reported an error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Durable bytes have changed or are gone.
    #[error("the journal is damaged: {} at byte {offset}: {why}; run `skyberth fsck`", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The first damaged byte.
        offset: u64,
        /// The damage.
        why: String,
    },
    /// The journal of another registry.
    #[error("{} belongs to journal {found}, but this registry's is {expected}; restore the right one, or run `skyberth fsck`", file.display())]
    Foreign {
        /// The file with the other id.
        file: PathBuf,
        /// The expected journal.
        expected: JournalId,
        /// The journal found.
        found: JournalId,
    },
    /// There is no journal, although one is known to have existed.
    #[error("journal {expected} is missing from {}: its files are gone", directory.display())]
    Missing {
        /// Its directory.
        directory: PathBuf,
        /// The expected journal.
        expected: JournalId,
    },
    /// A newer program wrote it.
    #[error("{} has format version {version}, newer than this program can read; use the newer program", file.display())]
    NewerFormat {
        /// The file with the newer format.
        file: PathBuf,
        /// Its version.
        version: u32,
    },
    /// An intact record that this program does not know, so a newer program wrote it.
    #[error("{} at byte {offset}: a record that only a newer program can read; use the newer program", file.display())]
    UnknownRecord {
        /// The file.
        file: PathBuf,
        /// Start of the record.
        offset: u64,
    },
    /// Another process has opened it.
    #[error("{} is in use by another process", directory.display())]
    Locked {
        /// The journal's directory.
        directory: PathBuf,
    },
}

impl OpenError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| OpenError::Io { path, source }
    }
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no space. Nothing was written. Deletes may still use the reserve.
    #[error("no space left for the journal")]
    DiskFull,
    /// A write or sync failed, now or earlier. The batch may be on disk or not. Nothing more is written until the
    /// journal is opened again.
    #[error("the journal failed and accepts no more records")]
    Failed,
    /// A record exceeds [`super::MAX_PAYLOAD_BYTES`], or the batch exceeds [`super::MAX_BATCH_BYTES`]. Nothing was
    /// written.
    #[error("a record or a batch is too large for the journal")]
    TooLarge,
}

/// Why a compaction failed. The journal is unchanged in content.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// Another compaction is running.
    #[error("another compaction is running")]
    Busy,
    /// There is no space for the next segment or for the snapshot.
    #[error("no space left for a compaction")]
    DiskFull,
    /// The journal failed, earlier or while its segment was sealed.
    #[error("the journal failed and accepts no more records")]
    Failed,
    /// The operating system reported an error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file to be merged is damaged.
    #[error(transparent)]
    Read(#[from] ReplayError),
    /// The new snapshot differs from what was written, when read back.
    #[error("{} was read back damaged: {why}", path.display())]
    BadSnapshot {
        /// The snapshot, still under its temporary name.
        path: PathBuf,
        /// The fault.
        why: String,
    },
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{} at byte {offset}: {why}", file.display())]
pub struct ReplayError {
    /// The file.
    pub file: PathBuf,
    /// Start of the fault.
    pub offset: u64,
    /// The fault.
    pub why: String,
}

/// Why the facts since a sequence are unavailable.
#[derive(Debug, thiserror::Error)]
pub enum FactsSinceError {
    /// They were merged into a snapshot. The caller must start again from the whole state.
    #[error("records up to {snapshot_sequence} are compacted")]
    Compacted {
        /// The last record in the snapshot.
        snapshot_sequence: u64,
    },
    /// A file could not be opened.
    #[error(transparent)]
    Read(#[from] ReplayError),
}
