//! Commands to the catalog, and the reasons for which it refuses them.

use crate::catalog::fact::{Locator, ManifestRecord, Visibility};
use crate::oci::{Digest, FixedTags, Reference, RepositoryName, Tag};

/// One change. The catalog checks the preconditions of commands in commit order, so of two conflicting commands only
/// one succeeds.
#[derive(Clone, Debug)]
pub enum Command {
    /// Creates a repository. Nothing happens if it exists.
    CreateRepository {
        /// The repository.
        repository: RepositoryName,
        /// Who may see it.
        visibility: Visibility,
    },
    /// Sets who may see a repository. [`Refusal::RepositoryUnknown`] if it does not exist.
    SetVisibility {
        /// The repository.
        repository: RepositoryName,
        /// Who may see it from now on.
        visibility: Visibility,
    },
    /// Adds a verified blob in the content store to a repository. Creates the repository if it is new.
    LinkBlob {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
        /// Length in bytes.
        size: u64,
    },
    /// Adds a blob of another repository to a repository. [`Refusal::BlobUnknown`] if the source does not have it.
    MountBlob {
        /// The target repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
        /// The source repository.
        from: RepositoryName,
    },
    /// Removes a blob from a repository, for a client.
    UnlinkBlob {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
        /// Removes the blob even if manifests reference it. Otherwise that is [`Refusal::BlobReferenced`].
        even_if_referenced: bool,
        /// A condition on the blob, if it exists.
        precondition: Option<Precondition>,
    },
    /// Removes a blob from a repository, for the collection. Nothing happens if a manifest of the repository references
    /// it, or if the repository does not have it.
    CollectBlob {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// Adds a manifest in the content store to a repository, and sets these tags to it.
    PutManifest {
        /// The repository; created if it is new.
        repository: RepositoryName,
        /// The digest under which it was pushed.
        digest: Digest,
        /// The manifest's record.
        manifest: ManifestRecord,
        /// Content that must be in the repository, as blob or manifest. Empty if reference checks are off.
        required: Vec<Digest>,
        /// Content that must have this size *if* it is in the repository. Empty if sizes are not checked.
        compare: Vec<(Digest, u64)>,
        /// Tags to set.
        tags: Vec<Tag>,
        /// Tags that must not move: [`Refusal::TagFixed`] if one of them points to another manifest.
        fixed: FixedTags,
        /// A condition on the tag or digest in the request.
        precondition: Option<(Reference, Precondition)>,
    },
    /// Removes a manifest, all its tags, and its entry among referrers. [`Refusal::TooManyTags`] if one batch cannot
    /// remove that many tags: see [`crate::catalog::Catalog::delete_manifest`].
    DeleteManifest {
        /// The repository.
        repository: RepositoryName,
        /// The manifest.
        digest: Digest,
        /// A condition on the manifest, if it exists.
        precondition: Option<Precondition>,
        /// Tags that must stay: [`Refusal::TagFixed`] if the manifest has one of them.
        fixed: FixedTags,
    },
    /// Removes tags of a manifest, as many as one batch can. Nothing happens if it has none.
    UntagManifest {
        /// The repository.
        repository: RepositoryName,
        /// The manifest.
        digest: Digest,
        /// Tags that must stay: [`Refusal::TagFixed`] if one of them would be removed.
        fixed: FixedTags,
    },
    /// Removes a tag. Its manifest stays.
    DeleteTag {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// A condition on the tag, if it exists.
        precondition: Option<Precondition>,
        /// Tags that must stay: [`Refusal::TagFixed`] if it is one of them.
        fixed: FixedTags,
    },
    /// Records that the list of unit roots of content is in the content store. Nothing happens if the content is
    /// unreferenced.
    RecordUnitRoots {
        /// The content.
        digest: Digest,
        /// The content file with the list.
        list: Digest,
        /// Number of roots in the list.
        units: u64,
    },
    /// Records that a backend acknowledged content. If the content is unreferenced by now, an unpin is recorded
    /// instead.
    RecordPlaced {
        /// The content.
        digest: Digest,
        /// The copy.
        locator: Locator,
    },
    /// Records that unreferenced content may be at a backend without a record, and must be unpinned there. A pending
    /// unpin is requested again. Nothing happens if the content is referenced.
    RecordAbandoned {
        /// The content.
        digest: Digest,
        /// Where the copy may be.
        locator: Locator,
    },
    /// Records that content was read back whole. Nothing happens if it was placed again or unpinned since.
    RecordReadBack {
        /// The content.
        digest: Digest,
        /// The copy.
        locator: Locator,
        /// The [`crate::catalog::Placement::sequence`] of the copy that was read.
        placed: u64,
        /// The endpoints of the locator that were asked.
        among: Vec<String>,
    },
    /// Records that endpoints do not have content that they acknowledged. Their copies do not count until they are found
    /// again. Nothing happens if the content was placed or unpinned again since.
    RecordMissing {
        /// The content.
        digest: Digest,
        /// The place, with the endpoints that do not have it.
        locator: Locator,
        /// The [`crate::catalog::Placement::sequence`] that the caller acted on.
        standing: u64,
    },
    /// Records that a backend no longer has content, because it was removed or lost there: at the endpoints in the
    /// locator, or at all. Records of other endpoints stay. Nothing happens if the content was placed or unpinned again
    /// since.
    RecordUnplaced {
        /// The content.
        digest: Digest,
        /// Where the copy was.
        locator: Locator,
        /// The [`crate::catalog::Placement::sequence`] that the caller acted on.
        standing: u64,
    },
}

/// A condition of a PUT or DELETE on what its URL names now: `If-Match` and `If-None-Match` (RFC 9110 section 13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// One of these versions exists.
    pub if_match: Option<Versions>,
    /// None of these versions exists.
    pub if_none_match: Option<Versions>,
}

/// Versions in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Every version.
    Any,
    /// Only these.
    Listed(Vec<Digest>),
}

impl Precondition {
    /// True if it holds where `current` is the existing version.
    pub fn holds(&self, current: Option<&Digest>) -> bool {
        let has = |versions: &Versions| match versions {
            Versions::Any => current.is_some(),
            Versions::Listed(digests) => current.is_some_and(|current| digests.contains(current)),
        };
        self.if_match.as_ref().is_none_or(has) && !self.if_none_match.as_ref().is_some_and(has)
    }
}

/// Why a command was refused. No command of its commit had an effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The repository does not exist.
    #[error("repository is not known")]
    RepositoryUnknown,
    /// The repository does not have the blob.
    #[error("blob is not known")]
    BlobUnknown,
    /// The repository does not have the manifest.
    #[error("manifest is not known")]
    ManifestUnknown,
    /// The repository does not have the tag.
    #[error("tag is not known")]
    TagUnknown,
    /// The repository lacks content that the manifest references.
    #[error("{} referenced digests are not in this repository", .0.len())]
    ReferencesMissing(Vec<Digest>),
    /// A descriptor states another size than the content has.
    #[error("{digest} has {stored} bytes, but the manifest states {stated}")]
    SizeMismatch {
        /// The content.
        digest: Digest,
        /// Size in the descriptor.
        stated: u64,
        /// Size in the store.
        stored: u64,
    },
    /// The manifest has more tags than one batch can remove.
    #[error("manifest has too many tags to delete in one batch")]
    TooManyTags,
    /// Manifests of the repository reference the blob. At most 10 are listed.
    #[error("blob is referenced by at least {} manifests", .0.len())]
    BlobReferenced(Vec<Digest>),
    /// The tag exists, and may neither be moved nor removed.
    #[error("tag {0} is fixed")]
    TagFixed(Tag),
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("precondition does not hold")]
    PreconditionFailed,
    /// The locator is invalid: without a kind or an address, with a zero byte, or too long.
    #[error("locator is not valid")]
    LocatorInvalid,
}

/// The result of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The sequence of the commit's last fact. If it changed nothing, the last sequence before it.
    pub sequence: u64,
    /// Content that is no longer referenced. Its file can be removed, under the digest's lock and after another check.
    pub orphaned: Vec<Digest>,
    /// Tags that moved, each with its previous manifest.
    pub moved: Vec<(Tag, Digest)>,
}

/// Why a commit failed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A command was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk is full. Only deletes are still possible.
    #[error("the disk is full")]
    DiskFull,
    /// The journal failed, and commits in flight may or may not be durable. The node must be restarted before it can
    /// write.
    #[error("the journal failed, this node is read-only")]
    ReadOnly,
    /// The index is being rebuilt, the queue is full, or the node is stopping. Retry later.
    #[error("the catalog is busy")]
    Unavailable,
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The index is being rebuilt. Retry later.
    #[error("the index is being rebuilt")]
    Rebuilding,
}
