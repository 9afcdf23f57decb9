//! What can go wrong in a registry, by meaning. `http/error.rs` says what each looks like on the wire.

use content_store::{StoreError, UploadId};
use tokio::task::JoinError;

use crate::catalog::command::{CommitError, ReadError, Refusal};
use crate::oci::Digest;
use crate::oci::manifest::InvalidManifest;
use crate::units::count;
use crate::{content, fetch};

/// How far an upload session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The session.
    pub id: UploadId,
    /// How many bytes it holds.
    pub offset: u64,
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such repository.
    #[error("repository is not known to this registry")]
    RepositoryUnknown,
    /// The repository does not hold the blob.
    #[error("blob is not known to this repository")]
    BlobUnknown,
    /// The repository does not hold the manifest, or has no such tag.
    #[error("manifest is not known to this repository")]
    ManifestUnknown,
    /// No such session in that repository: never begun, finished, cancelled or expired.
    #[error("upload session is not known to this repository")]
    UploadUnknown,
    /// A chunk does not begin where the session ends.
    #[error("chunk does not begin at the session's end, {}", .0.offset)]
    ChunkOutOfOrder(Progress),
    /// `Content-Range` and the bytes that came disagree.
    #[error("{why}")]
    ChunkSizeInvalid {
        /// How they disagree.
        why: String,
        /// Where the session stands now.
        progress: Progress,
    },
    /// Another request writes to the session.
    #[error("another request is writing to this session")]
    UploadBusy(Progress),
    /// The content is not what its digest says.
    #[error("content is {computed}, not {claimed}")]
    DigestMismatch {
        /// By the client.
        claimed: Digest,
        /// By us.
        computed: Digest,
    },
    /// Content under this algorithm cannot be taken.
    #[error("digest algorithm {0:?} is not supported; sha256, sha512 and blake3 are")]
    AlgorithmUnsupported(String),
    /// The manifest is not valid.
    #[error(transparent)]
    ManifestInvalid(#[from] InvalidManifest),
    /// The manifest's descriptors do not fit the content.
    #[error("{digest} has {stored} bytes, its descriptor says {stated}")]
    DescriptorSize {
        /// Of which content.
        digest: Digest,
        /// By the descriptor.
        stated: u64,
        /// In the store.
        stored: u64,
    },
    /// What the manifest refers to is not in its repository.
    #[error("not in this repository: {}", count(.digests.len() as u64, "referenced digest"))]
    ReferencesMissing {
        /// Which.
        digests: Vec<Digest>,
        /// They are children of an index, rather than blobs of an image.
        children: bool,
    },
    /// Larger than `registry.max_blob_size`.
    #[error("blob is larger than the {limit} bytes that this registry takes")]
    BlobTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Larger than `registry.max_manifest_size`.
    #[error("manifest is larger than the {limit} bytes that this registry takes")]
    ManifestTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// More `?tag=` than `registry.max_tags_per_put`.
    #[error("more than {} in one request", count(*.limit as u64, "tag"))]
    TooManyTags {
        /// The limit.
        limit: usize,
    },
    /// Manifests need the blob.
    #[error("blob is needed by manifests of this repository; delete them first: {}", list(.0))]
    BlobReferenced(Vec<Digest>),
    /// `registry.delete` is off.
    #[error("deleting is disabled on this registry")]
    DeleteDisabled,
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("precondition does not hold")]
    PreconditionFailed,
    /// The client went away, or its framing is broken, before the body's end.
    #[error("the request body broke off")]
    BodyBroken,
    /// Nothing came for `server.idle_body_timeout`.
    #[error("the request body stalled")]
    BodyIdle,
    /// A named limit of concurrent work is reached.
    #[error("too many {0} at once, try again soon")]
    TooMany(&'static str),
    /// No space for what the session would hold; it stays as it is.
    #[error("no space is left for uploads")]
    DiskFull,
    /// No space, so no new sessions.
    #[error("no space is left, so no upload can be begun")]
    NoNewUploads,
    /// A write or sync of the content store failed, and none has succeeded since.
    #[error("this node's disk has failed to store, so no push can be begun until it works again; try again soon")]
    StoreTroubled,
    /// `storage.staging_limit`: too much waits for its place at the backend.
    #[error("too much waits to be stored elsewhere, so no upload can be begun; try again soon")]
    StagingFull,
    /// The journal failed: reads go on, writes do not.
    #[error("this node is read-only after a failure of its disk")]
    ReadOnly,
    /// The catalog cannot answer now.
    #[error("this node is not ready to answer, try again soon")]
    Unavailable,
    /// The push is durable on this node, and not at the backend in time.
    #[error("the push is stored on this node, but not elsewhere yet; push again soon")]
    InDoubt,
    /// The content is only at a backend, which cannot be read now.
    #[error("the content is stored elsewhere and cannot be had now, try again soon")]
    BackendUnavailable,
    /// Stored content is damaged.
    #[error("stored content is damaged")]
    ContentDamaged(#[source] StoreError),
    /// The disk fails us.
    #[error("storage failed")]
    Storage(#[source] StoreError),
    /// A bug, or a machine in trouble.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

fn list(digests: &[Digest]) -> String {
    digests.iter().map(Digest::as_str).collect::<Vec<_>>().join(", ")
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        if error.is_disk_full() { Error::DiskFull } else { Error::Storage(error) }
    }
}

/// The panic hook has logged which task panicked, and where.
impl From<JoinError> for Error {
    fn from(_: JoinError) -> Self {
        Error::Internal("a task panicked")
    }
}

impl From<content::Error> for Error {
    fn from(error: content::Error) -> Self {
        match error {
            content::Error::Missing => Error::Internal("the content is not here"),
            content::Error::Damaged(error) => Error::ContentDamaged(error),
            content::Error::Read(_) => Error::Internal("the content cannot be read"),
            content::Error::DiskFull => Error::DiskFull,
            content::Error::ReadOnly => Error::ReadOnly,
            content::Error::Unavailable | content::Error::Stopped => Error::Unavailable,
            content::Error::Refused(refusal) => refusal.into(),
            content::Error::Storage(error) => Error::Storage(error),
            content::Error::Internal(what) => Error::Internal(what),
        }
    }
}

impl From<fetch::Error> for Error {
    fn from(error: fetch::Error) -> Self {
        match error {
            fetch::Error::Unavailable => Error::BackendUnavailable,
            fetch::Error::Local(error) => error.into(),
        }
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
            CommitError::Refused(refusal) => refusal.into(),
            CommitError::DiskFull => Error::DiskFull,
            CommitError::ReadOnly => Error::ReadOnly,
            CommitError::Unavailable => Error::Unavailable,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::RepositoryUnknown => Error::RepositoryUnknown,
            Refusal::BlobUnknown => Error::BlobUnknown,
            Refusal::ManifestUnknown | Refusal::TagUnknown => Error::ManifestUnknown,
            Refusal::ReferencesMissing(digests) => Error::ReferencesMissing { digests, children: false },
            Refusal::SizeMismatch { digest, stated, stored } => Error::DescriptorSize { digest, stated, stored },
            Refusal::BlobReferenced(by) => Error::BlobReferenced(by),
            Refusal::PreconditionFailed => Error::PreconditionFailed,
            Refusal::TooManyTags => Error::Internal("a manifest with many tags was to go in one batch"),
            Refusal::LocatorInvalid => Error::Internal("a backend made a locator that is not valid"),
        }
    }
}
