//! Errors of skyfiles.

use std::io;
use std::sync::Arc;

use serving::UsedUp;
use skynet_formats::base_sector::{AssembleError, BaseSectorError};
use skynet_formats::layout::LayoutError;
use skynet_formats::metadata::MetadataError;
use skynet_formats::profile::ProfileError;
use skynet_formats::range_proof::RangeProofError;

use crate::peers::FetchError;
use crate::read_only::ReadOnly;

/// Reasons why a skyfile cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// A gateway was asked to change something.
    #[error(transparent)]
    ReadOnly(#[from] ReadOnly),
    /// The operator blocked it.
    #[error("skylink is blocked")]
    Blocked,
    /// The skylink is that of a registry entry, which has to be resolved first.
    #[error("not a v1 skylink")]
    NotV1,
    /// The content of the skylink is not a skyfile.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Its parts would reach beyond the bytes named by the skylink.
    #[error("base sector is malformed: its parts do not fit what the skylink names")]
    OutOfBounds,
    /// Its metadata is invalid.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Peers have it, but it could not be fetched from them.
    #[error(transparent)]
    Fetch(#[from] Arc<FetchError>),
    /// The range of a proof is not whole leaves inside a sector.
    #[error(transparent)]
    Proof(#[from] RangeProofError),
    /// The disk failed.
    #[error("cannot read the skyfile")]
    Io(#[source] io::Error),
}

impl From<io::Error> for OpenError {
    /// A stream of content can report a missing sector only as an `io::Error`.
    fn from(error: io::Error) -> Self {
        match error.downcast() {
            Ok(fetch) => OpenError::Fetch(fetch),
            Err(error) => OpenError::Io(error),
        }
    }
}

/// Reasons why a skyfile cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The disk has no more room than the reserve.
    #[error("the portal's disk is full")]
    DiskFull,
    /// The permits for uploads are used up, or the client's share of them.
    #[error(transparent)]
    UsedUp(#[from] UsedUp),
    /// The content is longer than the portal accepts.
    #[error("upload exceeds the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The metadata is longer than the portal accepts.
    #[error("skyfile metadata exceeds the limit of {limit} bytes")]
    MetadataTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The operator blocked it.
    #[error("skylink is blocked")]
    Blocked,
    /// The base sector made by a client is wrong.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The parts do not fit a base sector.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// An earlier step failed, and the caller went on.
    #[error("the upload has failed before")]
    Failed,
    /// The disk failed.
    #[error("cannot store the skyfile")]
    Io(#[source] io::Error),
}

/// Reasons why a base sector made by a client is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// The header differs from that of skyd's backups.
    #[error("wrong header")]
    Header,
    /// The body ends before the base sector begins, or continues after the end of the skyfile.
    #[error("the body is not that of a backup: {0}")]
    Body(&'static str),
    /// It is not a valid base sector.
    #[error(transparent)]
    Base(#[from] BaseSectorError),
    /// Its metadata is invalid.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Its metadata is longer than the portal accepts.
    #[error("skyfile metadata exceeds the limit of {limit} bytes")]
    MetadataTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// No profile has its numbers of pieces.
    #[error(transparent)]
    Pieces(#[from] ProfileError),
    /// The skylink is not that of the base sector.
    #[error("the skylink is not that of the base sector")]
    Skylink,
    /// The length of the content differs from the layout.
    #[error("{found} bytes of content where the layout says {expected}")]
    Length {
        /// The length in the layout, in bytes.
        expected: u64,
        /// Received bytes.
        found: u64,
    },
    /// The fanout belongs to other content.
    #[error("the fanout is not that of the content")]
    Fanout,
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => WriteError::DiskFull,
            _ => WriteError::Io(error),
        }
    }
}
