//! Errors of resumable uploads, distinguished by the reaction that a client should have.

use std::io;
use std::path::{Path, PathBuf};

use content_store::StoreError;
use serving::{BodyError, UsedUp};
use skynet_formats::metadata::MetadataError;

use super::upload_metadata::UploadMetadataError;
use crate::skyfile::WriteError;

/// A failed operation on a resumable upload.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TusError {
    /// The upload was never made, has expired, or was terminated.
    #[error("upload not found")]
    Unknown,
    /// Another request writes to it.
    #[error("the upload is in use by another request")]
    Busy,
    /// Its bytes are in flight to the store.
    #[error("the upload is being finished, ask again")]
    Finishing,
    /// The client's offset differs from the upload's.
    #[error("the upload is at offset {0}")]
    WrongOffset(u64),
    /// The upload is longer than the portal accepts.
    #[error("upload exceeds maximum size: {length} > {limit}")]
    TooLarge {
        /// Length of the upload in bytes.
        length: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The body is longer than announced.
    #[error("the body goes beyond the {0} bytes of the upload")]
    BeyondLength(u64),
    /// A final upload accepts no bytes.
    #[error("modifying a final upload is not allowed")]
    ModifyFinal,
    /// The part was made as a single upload.
    #[error("can't concat non-partial uploads")]
    NotPartial,
    /// The part is not complete.
    #[error("one of the partial uploads is not finished")]
    PartIncomplete,
    /// The part belongs to another upload.
    #[error("one of the partial uploads is part of another upload")]
    PartUsed,
    /// `Upload-Metadata` is invalid.
    #[error(transparent)]
    UploadMetadata(#[from] UploadMetadataError),
    /// `filename` or `filetype` is not UTF-8.
    #[error("{0:?} in Upload-Metadata is not UTF-8")]
    NotUtf8(&'static str),
    /// The metadata is invalid for a skyfile.
    #[error("invalid metadata: {0}")]
    Metadata(#[from] MetadataError),
    /// `skyfilemetadata` describes content of another length.
    #[error("skyfilemetadata is of {metadata} bytes, the upload has {length}")]
    MetadataLength {
        /// The length in the metadata, in bytes.
        metadata: u64,
        /// Length of the upload in bytes.
        length: u64,
    },
    /// The metadata does not fit into a base sector.
    #[error("{length} bytes of skyfile metadata, {limit} are possible")]
    MetadataTooLong {
        /// Length of the metadata in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The permits for uploads or their bodies are used up, or the client's share of them.
    #[error(transparent)]
    UsedUp(#[from] UsedUp),
    /// The file system is full, or nearly.
    #[error("the portal has no room for this upload")]
    DiskFull,
    /// The body ended early. Received bytes are kept.
    #[error("the body broke off: {0}")]
    Body(#[from] BodyError),
    /// The store refused the content.
    #[error("the content cannot be stored")]
    Store(#[from] WriteError),
    /// Fewer bytes are staged than recorded.
    #[error("{} has lost bytes", .0.display())]
    Damaged(PathBuf),
    /// The upload's files cannot be read or written.
    #[error(transparent)]
    Staging(StoreError),
    /// Any other error of the system.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The failed action.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A task with work on the upload panicked.
    #[error("work on the upload ended unexpectedly")]
    Panicked(#[from] tokio::task::JoinError),
}

impl From<StoreError> for TusError {
    fn from(error: StoreError) -> Self {
        if error.is_disk_full() { TusError::DiskFull } else { TusError::Staging(error) }
    }
}

impl TusError {
    /// Wraps an error of the system; made for `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TusError {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => TusError::DiskFull,
            _ => TusError::Io { action, path, source },
        }
    }
}
