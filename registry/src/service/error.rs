//! Errors of a registry, by meaning. `http/error.rs` maps each to its answer.

use content_store::{StoreError, UploadId};
use serving::UsedUp;
use tokio::task::JoinError;

use crate::catalog::command::{CommitError, ReadError, Refusal};
use crate::oci::manifest::InvalidManifest;
use crate::oci::{Digest, Tag};
use crate::units::count;
use crate::{content, fetch};

/// The progress of an upload session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The session's id.
    pub id: UploadId,
    /// Number of bytes received.
    pub offset: u64,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository does not exist.
    #[error("repository is not known to this registry")]
    RepositoryUnknown,
    /// The repository does not have the blob.
    #[error("blob is not known to this repository")]
    BlobUnknown,
    /// The repository does not have the manifest or the tag.
    #[error("manifest is not known to this repository")]
    ManifestUnknown,
    /// The repository has no such session: never begun, finished, cancelled or expired.
    #[error("upload session is not known to this repository")]
    UploadUnknown,
    /// A chunk does not start at the session's offset.
    #[error("chunk does not begin at the session's offset, {}", .0.offset)]
    ChunkOutOfOrder(Progress),
    /// A chunk's `Content-Range` is malformed.
    #[error("Content-Range must be FIRST-LAST; the session's offset is {}", .0.offset)]
    ContentRangeInvalid(Progress),
    /// `Content-Range` differs from the bytes received.
    #[error("{why}")]
    ChunkSizeInvalid {
        /// The difference.
        why: String,
        /// The session's progress now.
        progress: Progress,
    },
    /// Another request is writing to the session.
    #[error("another request is writing to this session")]
    UploadBusy(Progress),
    /// The content does not match its digest.
    #[error("the content has the digest {computed}, not {claimed}")]
    DigestMismatch {
        /// The digest stated by the client.
        claimed: Digest,
        /// The digest of the bytes.
        computed: Digest,
    },
    /// The digest's algorithm is not supported.
    #[error("digest algorithm {0:?} is not supported; sha256, sha512 and blake3 are")]
    AlgorithmUnsupported(String),
    /// The manifest is invalid.
    #[error(transparent)]
    ManifestInvalid(#[from] InvalidManifest),
    /// A descriptor states another size than the content has.
    #[error("{digest} has {stored} bytes, but its descriptor states {stated}")]
    DescriptorSize {
        /// The content.
        digest: Digest,
        /// Size in the descriptor.
        stated: u64,
        /// Size in the store.
        stored: u64,
    },
    /// The repository lacks content that the manifest references.
    #[error("this repository lacks {}", count(.digests.len() as u64, "referenced digest"))]
    ReferencesMissing {
        /// The missing digests.
        digests: Vec<Digest>,
        /// True for children of an index, false for blobs of an image.
        children: bool,
    },
    /// Larger than `registry.max_blob_size`.
    #[error("blob is larger than this registry's limit of {limit} bytes")]
    BlobTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Larger than `registry.max_manifest_size`.
    #[error("manifest is larger than this registry's limit of {limit} bytes")]
    ManifestTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// More references than `registry.max_references`.
    #[error("manifest references more than this registry's limit of {limit} digests")]
    TooManyReferences {
        /// The limit.
        limit: usize,
    },
    /// More `?tag=` than `registry.max_tags_per_put`.
    #[error("more than {} in one request", count(*.limit as u64, "tag"))]
    TooManyTags {
        /// The limit.
        limit: usize,
    },
    /// Manifests of the repository reference the blob.
    #[error("manifests of this repository reference the blob; delete them first: {}", list(.0))]
    BlobReferenced(Vec<Digest>),
    /// `registry.delete` is off.
    #[error("deleting is disabled on this registry")]
    DeleteDisabled,
    /// The tag exists, and the caller may neither move nor remove it.
    #[error("the tag {0} exists, and you may not move or remove it")]
    TagFixed(Tag),
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("precondition does not hold")]
    PreconditionFailed,
    /// The client closed the connection before the body's end, or sent invalid framing.
    #[error("the request body ended early")]
    BodyBroken,
    /// No byte of the body came for `server.idle_body_timeout`.
    #[error("the request body stalled")]
    BodyIdle,
    /// The body came below the least rate, while others waited for a permit.
    #[error("the request body came too slowly while others waited")]
    BodySlow,
    /// A pool, or the client's share of it, is used up.
    #[error(transparent)]
    UsedUp(#[from] UsedUp),
    /// The disk has no space for the session's next bytes. The session stays.
    #[error("no space is left for uploads")]
    DiskFull,
    /// The disk has no space for a new session.
    #[error("no space is left, so no upload can begin")]
    NoNewUploads,
    /// A write or sync of the content store failed, and none has succeeded since.
    #[error("this node's disk fails, so no push can begin until it works again; retry soon")]
    StoreTroubled,
    /// `storage.staging_limit`: too many bytes are not on the portals yet.
    #[error("too much content is not on the portals yet, so no more is taken; retry soon")]
    StagingFull,
    /// The journal failed. Reads still work, writes do not.
    #[error("this node is read-only after a failure of its disk")]
    ReadOnly,
    /// The catalog cannot answer now.
    #[error("this node is not ready, retry soon")]
    Unavailable,
    /// The push is durable on this node, but was not placed in time.
    #[error("the push is stored on this node, but not on the portals yet; push again soon")]
    InDoubt,
    /// The content is only at a backend, which cannot be read now.
    #[error("the content is only on portals that do not deliver it now, retry soon")]
    BackendUnavailable,
    /// Stored content is damaged.
    #[error("stored content is damaged")]
    ContentDamaged(#[source] StoreError),
    /// The disk failed.
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
        content::Error::from(error).into()
    }
}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        content::Error::from(error).into()
    }
}

impl From<content::Error> for Error {
    fn from(error: content::Error) -> Self {
        match error {
            content::Error::Missing => Error::Internal("the content has no local file"),
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
        content::Error::from(error).into()
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        content::Error::from(error).into()
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
            Refusal::TagFixed(tag) => Error::TagFixed(tag),
            Refusal::PreconditionFailed => Error::PreconditionFailed,
            Refusal::TooManyTags => Error::Internal("a manifest with too many tags was deleted in one batch"),
            Refusal::LocatorInvalid => Error::Internal("a backend made an invalid locator"),
        }
    }
}
