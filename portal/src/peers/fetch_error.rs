//! Reasons why a fetch from peers failed.

use std::io;

use skynet_formats::base_sector::BaseSectorError;
use skynet_formats::sector::SectorRoot;
use tokio::task::JoinError;

/// Reasons why a skyfile of a peer could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The queue of fetches is full.
    #[error("too many skyfiles are being fetched from peers, try again later")]
    Busy,
    /// The content of the skylink is not a skyfile.
    #[error(transparent)]
    Malformed(#[from] BaseSectorError),
    /// The skyfile is larger than this portal accepts.
    #[error("the skyfile has {size} bytes, this portal takes {limit}")]
    TooLarge {
        /// Length of the content in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The skyfile has more metadata than this portal accepts.
    #[error("the skyfile has {size} bytes of metadata, this portal takes {limit}")]
    MetadataTooLarge {
        /// Length of the metadata in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// No peer has one of its sectors.
    #[error("no peer gives the sector {0} of the skyfile")]
    Incomplete(SectorRoot),
    /// The disk has no more room than the reserve.
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
