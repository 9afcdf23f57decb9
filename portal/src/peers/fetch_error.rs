//! Why a fetch from peers failed.

use std::io;

use skynet_formats::base_sector::BaseSectorError;
use skynet_formats::sector::SectorRoot;
use tokio::task::JoinError;

/// Why a skyfile that some peer has could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// As many fetches wait as are allowed to.
    #[error("too many skyfiles are being fetched from peers, try again later")]
    Busy,
    /// What the skylink names is no skyfile.
    #[error(transparent)]
    Malformed(#[from] BaseSectorError),
    /// It is larger than any that this portal takes.
    #[error("the skyfile has {size} bytes, this portal takes {limit}")]
    TooLarge {
        /// Bytes of the content.
        size: u64,
        /// Most that are taken.
        limit: u64,
    },
    /// One of its sectors could not be had from any peer.
    #[error("no peer gives the sector {0} of the skyfile")]
    Incomplete(SectorRoot),
    /// The disk has no more room than what is reserved.
    #[error("the portal's disk is full")]
    DiskFull,
    /// The disk failed.
    #[error("cannot store a sector of a peer")]
    Io(#[source] io::Error),
    /// A step panicked, or the process ends.
    #[error("the fetch was aborted")]
    Aborted,
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FetchError::DiskFull,
            _ => FetchError::Io(error),
        }
    }
}

impl From<JoinError> for FetchError {
    fn from(_: JoinError) -> Self {
        FetchError::Aborted
    }
}
