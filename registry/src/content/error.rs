//! Errors of the content of this node, by meaning.

use content_store::StoreError;
use tokio::task::JoinError;

use crate::catalog::command::{CommitError, ReadError, Refusal};

/// Why local content could not be read, written or recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The content has no file.
    #[error("the content has no local file")]
    Missing,
    /// Its file has the wrong bytes or length.
    #[error("stored content is damaged")]
    Damaged(#[source] StoreError),
    /// The disk cannot read the file.
    #[error("read: {0}")]
    Read(std::io::Error),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
    /// No space is left.
    #[error("no space is left")]
    DiskFull,
    /// The journal failed: reads go on, writes do not.
    #[error("this node is read-only after a failure of its disk")]
    ReadOnly,
    /// The catalog cannot answer now.
    #[error("this node is not ready, retry soon")]
    Unavailable,
    /// The catalog refused the command.
    #[error(transparent)]
    Refused(Refusal),
    /// The store failed.
    #[error("storage failed")]
    Storage(#[source] StoreError),
    /// A bug, or a machine in trouble.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl Error {
    /// What a failure to read a content file means.
    pub(crate) fn of_file(error: StoreError) -> Self {
        match error {
            StoreError::Missing { .. } => Error::Missing,
            StoreError::WrongLength { .. } | StoreError::Corrupt { .. } => Error::Damaged(error),
            other => other.into(),
        }
    }
}

/// The panic hook has logged which task panicked, and where.
impl From<JoinError> for Error {
    fn from(_: JoinError) -> Self {
        Error::Internal("a task panicked")
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        if error.is_disk_full() { Error::DiskFull } else { Error::Storage(error) }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Rebuilding => Error::Unavailable,
        }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Refused(refusal) => Error::Refused(refusal),
            CommitError::DiskFull => Error::DiskFull,
            CommitError::ReadOnly => Error::ReadOnly,
            CommitError::Unavailable => Error::Unavailable,
        }
    }
}
