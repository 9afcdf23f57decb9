//! What can go wrong with a skyfile.

use std::io;
use std::sync::Arc;

use skynet_formats::base_sector::{AssembleError, BaseSectorError};
use skynet_formats::layout::LayoutError;
use skynet_formats::metadata::MetadataError;
use skynet_formats::profile::ProfileError;
use skynet_formats::range_proof::RangeProofError;

use crate::peers::FetchError;
use crate::read_only::ReadOnly;

/// Why a skyfile cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// A gateway was to change something.
    #[error(transparent)]
    ReadOnly(#[from] ReadOnly),
    /// The operator blocked it.
    #[error("skylink is blocked")]
    Blocked,
    /// The skylink is that of a registry entry, which has to be resolved first.
    #[error("not a v1 skylink")]
    NotV1,
    /// What the skylink names is no skyfile.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Its parts would reach beyond what the skylink names.
    #[error("base sector is malformed: its parts do not fit what the skylink names")]
    OutOfBounds,
    /// Its metadata makes no sense.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Peers have it, and it could not be fetched from them.
    #[error(transparent)]
    Fetch(#[from] Arc<FetchError>),
    /// Proofs are of whole leaves inside a sector.
    #[error(transparent)]
    Proof(#[from] RangeProofError),
    /// The disk failed.
    #[error("cannot read the skyfile")]
    Io(#[source] io::Error),
}

impl From<io::Error> for OpenError {
    /// A stream of content has no other way to say that a sector does not come.
    fn from(error: io::Error) -> Self {
        match error.downcast() {
            Ok(fetch) => OpenError::Fetch(fetch),
            Err(error) => OpenError::Io(error),
        }
    }
}

/// Why a skyfile cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The disk has no more room than what is reserved.
    #[error("the portal's disk is full")]
    DiskFull,
    /// As many uploads as the portal allows are under way.
    #[error("too many uploads at once, try again later")]
    TooManyUploads,
    /// More content than the portal takes.
    #[error("upload exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// Longer metadata than the portal takes.
    #[error("skyfile metadata exceeds the limit of {limit} bytes")]
    MetadataTooLarge {
        /// Bytes.
        limit: usize,
    },
    /// The operator blocked it.
    #[error("skylink is blocked")]
    Blocked,
    /// What a client made itself is wrong.
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

/// Why a base sector that a client made is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// Another header than skyd's backups have.
    #[error("wrong header")]
    Header,
    /// The bytes end before the base sector begins, or go on behind all that belongs to the skyfile.
    #[error("the body is not that of a backup: {0}")]
    Body(&'static str),
    /// It cannot be taken apart.
    #[error(transparent)]
    Base(#[from] BaseSectorError),
    /// Its metadata makes no sense.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Pieces that no profile has.
    #[error(transparent)]
    Pieces(#[from] ProfileError),
    /// The skylink is not that of the base sector.
    #[error("the skylink is not that of the base sector")]
    Skylink,
    /// More or less content than the layout says.
    #[error("{found} bytes of content where the layout says {expected}")]
    Length {
        /// By the layout.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// The fanout is that of other content.
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
