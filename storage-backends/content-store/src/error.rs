//! Errors of the content store, distinguished by the reaction that a caller has.

use std::io;
use std::path::{Path, PathBuf};

use super::UploadId;
use super::record::RecordError;
use crate::digest::Digest;

/// A failed operation of the content store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no file for this digest.
    #[error("{digest} is not in the content store")]
    Missing {
        /// The requested digest.
        digest: Digest,
    },
    /// The file's length differs from the recorded one.
    #[error("{} has {found} bytes instead of {expected}", path.display())]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// Expected length in bytes.
        expected: u64,
        /// Actual length in bytes.
        found: u64,
    },
    /// The bytes of the file do not match its digest.
    #[error("{} holds {computed}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The digest of its actual bytes.
        computed: Digest,
    },
    /// The digest's algorithm is unsupported, so nothing can be stored under it.
    #[error("digest algorithm {algorithm} is not supported")]
    UnsupportedAlgorithm {
        /// The name of the algorithm.
        algorithm: String,
    },
    /// A file or directory below `blobs/` that the store did not make. It is never touched.
    #[error("{} does not belong to the content store", .0.display())]
    Stranger(PathBuf),
    /// The store's directory cannot be written by this process.
    #[error("{} is not writable: {source}", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The store's directories are on different mounts.
    #[error("{} and {} must be on one mounted file system", from.display(), to.display())]
    Apart {
        /// Where files are made.
        from: PathBuf,
        /// Where they are moved to.
        to: PathBuf,
    },
    /// The file system or the quota is full.
    #[error("cannot {action} {}: {source}", path.display())]
    DiskFull {
        /// The failed action.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Any other error of the system.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The failed action.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A session of this id exists already.
    #[error("upload {0} exists already")]
    UploadExists(UploadId),
    /// The owner's name does not fit into a state record.
    #[error("an upload's owner has at most {limit} bytes, not {length}")]
    OwnerTooLong {
        /// Length of the name in bytes.
        length: usize,
        /// [`OWNER_LIMIT`](super::OWNER_LIMIT).
        limit: usize,
    },
    /// An earlier write or sync of this upload failed, so its bytes after the last sync point are unreliable. Drop it;
    /// a reopened upload resumes at that point.
    #[error("upload {0} failed before; only its bytes up to the last sync point are left")]
    UploadPoisoned(UploadId),
    /// The mark is stale: the upload was rolled back to an earlier offset since.
    #[error("upload {id} is at {offset}, before the mark at {mark}")]
    StaleMark {
        /// The upload.
        id: UploadId,
        /// The upload's offset in bytes.
        offset: u64,
        /// The mark's offset in bytes.
        mark: u64,
    },
    /// A newer version of this program wrote the state record. It is not touched.
    #[error("{} has format version {version}, which is newer than this program", path.display())]
    NewerFormat {
        /// The record.
        path: PathBuf,
        /// The record's format version.
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
    /// Wraps an error of the system; made for `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            // ENOSPC and EDQUOT.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull { action, path, source },
            _ => StoreError::Io { action, path, source },
        }
    }

    /// True if it failed for lack of space.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, StoreError::DiskFull { .. })
    }
}

/// Reasons why an upload did not become content.
#[derive(Debug, thiserror::Error)]
pub enum CommitUploadError {
    /// The bytes do not match the promised digest. The session is removed, because its bytes are useless.
    #[error("the {length} bytes uploaded are {computed}, not {expected}")]
    DigestMismatch {
        /// The digest that the client promised.
        expected: Digest,
        /// The digest of the bytes, in the same algorithm.
        computed: Digest,
        /// The number of bytes.
        length: u64,
    },
    /// The digest's algorithm is unsupported. The session is kept, synced at its offset.
    #[error("digest algorithm {algorithm} is not supported")]
    UnsupportedAlgorithm {
        /// The name of the algorithm.
        algorithm: String,
    },
    /// The store failed. The session is kept as it was at its last sync point.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CommitUploadError {
    /// True if it failed for lack of space.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, CommitUploadError::Store(error) if error.is_disk_full())
    }
}
