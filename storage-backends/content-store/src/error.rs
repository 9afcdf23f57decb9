//! What can go wrong in the content store, told apart by what a caller would do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::UploadId;
use super::record::RecordError;
use crate::digest::Digest;

/// A failed operation of the content store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No file stands under this digest.
    #[error("{digest} is not in the content store")]
    Missing {
        /// What was asked for.
        digest: Digest,
    },
    /// The file has not the length that was recorded for it.
    #[error("{} has {found} bytes instead of {expected}", path.display())]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// Bytes that should be there.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The bytes of the file are not those that its name promises.
    #[error("{} holds {computed}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The digest of what it holds.
        computed: Digest,
    },
    /// The digest's algorithm cannot be computed here, so nothing can be stored under it.
    #[error("digest algorithm {algorithm} is not supported")]
    UnsupportedAlgorithm {
        /// Its name.
        algorithm: String,
    },
    /// A file or directory below `blobs/` that the store did not make. It is left alone.
    #[error("{} does not belong to the content store", .0.display())]
    Stranger(PathBuf),
    /// The store's directory cannot be written by this process.
    #[error("{} is not writable: {source}", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file system or the quota is full.
    #[error("cannot {action} {}: {source}", path.display())]
    DiskFull {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Any other refusal of the system.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A session of this id exists already.
    #[error("upload {0} exists already")]
    UploadExists(UploadId),
    /// The owner's name does not fit into a state record.
    #[error("an upload's owner has at most {limit} bytes, not {length}")]
    OwnerTooLong {
        /// Bytes of the name.
        length: usize,
        /// [`OWNER_LIMIT`](super::OWNER_LIMIT).
        limit: usize,
    },
    /// A write or sync of this upload failed before, so its bytes since the last sync point are not to be trusted.
    /// Drop it; opening it again goes on from that point.
    #[error("upload {0} failed before; only its bytes up to the last sync point are left")]
    UploadPoisoned(UploadId),
    /// The mark lies past the upload's offset: the upload went back behind it since.
    #[error("upload {id} is at {offset}, before the mark at {mark}")]
    StaleMark {
        /// The upload.
        id: UploadId,
        /// Where it is.
        offset: u64,
        /// Where the mark is.
        mark: u64,
    },
    /// The state record was written by a newer version of this program. It is left alone.
    #[error("{} has format version {version}, which is newer than this program", path.display())]
    NewerFormat {
        /// The record.
        path: PathBuf,
        /// Its format version.
        version: u16,
    },
}

impl From<RecordError> for StoreError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Io { action, path, source } => StoreError::io(action, &path)(source),
            RecordError::NewerFormat { path, version } => StoreError::NewerFormat { path, version },
        }
    }
}

impl StoreError {
    /// Wraps what the system said; made for `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            // ENOSPC and EDQUOT.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull { action, path, source },
            _ => StoreError::Io { action, path, source },
        }
    }

    /// Whether more room would have made it succeed.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, StoreError::DiskFull { .. })
    }
}

/// Why an upload did not become content.
#[derive(Debug, thiserror::Error)]
pub enum CommitUploadError {
    /// The bytes are others than promised. The session is gone: its bytes are of no use to anybody.
    #[error("the {length} bytes uploaded are {computed}, not {expected}")]
    DigestMismatch {
        /// What the client said.
        expected: Digest,
        /// What the bytes are, in the same algorithm.
        computed: Digest,
        /// How many they are.
        length: u64,
    },
    /// The digest's algorithm cannot be computed here. The session is kept, synced at its offset.
    #[error("digest algorithm {algorithm} is not supported")]
    UnsupportedAlgorithm {
        /// Its name.
        algorithm: String,
    },
    /// The store failed. The session is kept as it was at its last sync point.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CommitUploadError {
    /// Whether more room would have made it succeed.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, CommitUploadError::Store(error) if error.is_disk_full())
    }
}
