//! Why the journal may refuse to open, to take a batch or to be read.

use std::io;
use std::path::PathBuf;

use super::record::JournalId;

/// Why a journal cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused something.
    #[error("{}: {source}", path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Bytes that were durable are no longer what they were, or are gone.
    #[error("the journal is damaged: {} at byte {offset}: {why}; run `skyberth fsck`", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// From which byte on.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// It is the journal of another registry.
    #[error("{} belongs to journal {found}, this registry's is {expected}; put the right one back, or see `skyberth fsck`", file.display())]
    Foreign {
        /// The file that says so.
        file: PathBuf,
        /// The one that was asked for.
        expected: JournalId,
        /// The one that is there.
        found: JournalId,
    },
    /// There is no journal although one is known to have been.
    #[error("journal {expected} is not in {}: its files are gone", directory.display())]
    Missing {
        /// Where it should be.
        directory: PathBuf,
        /// The one that was asked for.
        expected: JournalId,
    },
    /// A later version wrote it.
    #[error("{} has format version {version}, newer than this program can read; use the newer program", file.display())]
    NewerFormat {
        /// The file that says so.
        file: PathBuf,
        /// Its version.
        version: u32,
    },
    /// An intact record says something that this program does not know: a later version wrote it.
    #[error("{} at byte {offset}: a record that only a newer program can read; use that", file.display())]
    UnknownRecord {
        /// The file.
        file: PathBuf,
        /// Where the record begins.
        offset: u64,
    },
    /// Another process has it open.
    #[error("{} is in use by another process", directory.display())]
    Locked {
        /// The journal.
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
    /// No space. Nothing was written; deletes may still find room in the reserve.
    #[error("no space left for the journal")]
    DiskFull,
    /// A write or a sync failed, now or earlier: whether the batch is on disk is not known, and nothing more is written
    /// until the journal is opened again.
    #[error("the journal failed and takes no more records")]
    Failed,
    /// A record is longer than [`super::MAX_PAYLOAD_BYTES`] or the batch than [`super::MAX_BATCH_BYTES`]. Nothing was
    /// written.
    #[error("a record or a batch is too large for the journal")]
    TooLarge,
}

/// Why the state was not compacted. The journal is as good as before.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// One is under way.
    #[error("a compaction is under way")]
    Busy,
    /// No space for the next segment or for the snapshot.
    #[error("no space left for a compaction")]
    DiskFull,
    /// The journal has failed earlier, or while its segment was sealed.
    #[error("the journal failed and takes no more records")]
    Failed,
    /// The operating system refused something.
    #[error("{}: {source}", path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// What was read to be merged is damaged.
    #[error(transparent)]
    Read(#[from] ReplayError),
    /// The new snapshot was read back and is not what was written.
    #[error("{} was read back damaged: {why}", path.display())]
    BadSnapshot {
        /// The snapshot, still under its temporary name.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{} at byte {offset}: {why}", file.display())]
pub struct ReplayError {
    /// The file.
    pub file: PathBuf,
    /// From which byte on.
    pub offset: u64,
    /// What is wrong.
    pub why: String,
}

/// Why facts since a sequence cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum FactsSinceError {
    /// They were merged into a snapshot: start anew from the whole state.
    #[error("records up to {snapshot_sequence} are compacted")]
    Compacted {
        /// The snapshot holds everything up to it.
        snapshot_sequence: u64,
    },
    /// A file could not be opened.
    #[error(transparent)]
    Read(#[from] ReplayError),
}
