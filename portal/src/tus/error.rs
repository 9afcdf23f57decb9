//! What can go wrong with a resumable upload, told apart by what its client should do.

use std::io;
use std::path::{Path, PathBuf};

use content_store::record::RecordError;
use serving::BodyError;
use skynet_formats::metadata::MetadataError;

use super::upload_metadata::UploadMetadataError;
use crate::skyfile::WriteError;

/// A failed operation on a resumable upload.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TusError {
    /// Never made, expired, or terminated.
    #[error("upload not found")]
    Unknown,
    /// Another request writes to it.
    #[error("the upload is in use by another request")]
    Busy,
    /// Its bytes are on their way into the store.
    #[error("the upload is being finished, ask again")]
    Finishing,
    /// The client is at another offset than the upload.
    #[error("the upload is at offset {0}")]
    WrongOffset(u64),
    /// More bytes than the portal takes.
    #[error("upload exceeds maximum size: {length} > {limit}")]
    TooLarge {
        /// That the upload would have.
        length: u64,
        /// That it may have.
        limit: u64,
    },
    /// More bytes than were announced.
    #[error("the body goes beyond the {0} bytes of the upload")]
    BeyondLength(u64),
    /// Bytes for an upload that is made of others.
    #[error("modifying a final upload is not allowed")]
    ModifyFinal,
    /// A part that was made as a whole upload.
    #[error("can't concat non-partial uploads")]
    NotPartial,
    /// A part that is not complete.
    #[error("one of the partial uploads is not finished")]
    PartIncomplete,
    /// A part that was, or is being, made a part of something else.
    #[error("one of the partial uploads is part of another upload")]
    PartUsed,
    /// `Upload-Metadata` cannot be read.
    #[error(transparent)]
    UploadMetadata(#[from] UploadMetadataError),
    /// `filename` or `filetype` is not UTF-8.
    #[error("{0:?} in Upload-Metadata is not UTF-8")]
    NotUtf8(&'static str),
    /// A skyfile cannot have such metadata.
    #[error("invalid metadata: {0}")]
    Metadata(#[from] MetadataError),
    /// `skyfilemetadata` speaks of other content.
    #[error("skyfilemetadata is of {metadata} bytes, the upload has {length}")]
    MetadataLength {
        /// Bytes that the metadata speak of.
        metadata: u64,
        /// Bytes of the upload.
        length: u64,
    },
    /// Metadata that do not fit into a base sector.
    #[error("{length} bytes of skyfile metadata, {limit} are possible")]
    MetadataTooLong {
        /// Bytes of the metadata.
        length: usize,
        /// That they may have.
        limit: usize,
    },
    /// No more uploads at a time.
    #[error("too many uploads are open, try again later")]
    TooMany,
    /// The file system is full, or nearly.
    #[error("the portal has no room for this upload")]
    DiskFull,
    /// The body ended early. What came is kept.
    #[error("the body broke off: {0}")]
    Body(#[from] BodyError),
    /// The store did not take the content.
    #[error("the content cannot be stored")]
    Store(#[from] WriteError),
    /// Fewer bytes are staged than the record says.
    #[error("{} has lost bytes", .0.display())]
    Damaged(PathBuf),
    /// The state record cannot be read or replaced.
    #[error(transparent)]
    Record(RecordError),
    /// Any other refusal of the system.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A thread that worked on the upload panicked.
    #[error("work on the upload ended unexpectedly")]
    Panicked,
}

impl From<RecordError> for TusError {
    fn from(error: RecordError) -> Self {
        if error.is_disk_full() { TusError::DiskFull } else { TusError::Record(error) }
    }
}

impl TusError {
    /// Wraps what the system said; made for `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TusError {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => TusError::DiskFull,
            _ => TusError::Io { action, path, source },
        }
    }
}
