//! What may be asked of the catalog, and why it may say no.

use crate::catalog::fact::{Locator, ManifestRecord};
use crate::oci::{Digest, RepositoryName, Tag};

/// One change. The catalog checks its preconditions in the order of commits, so that no two commands can both be right
/// where only one may be.
#[derive(Clone, Debug)]
pub enum Command {
    /// A verified blob is in the content store and shall be held by a repository. Makes the repository if need be.
    LinkBlob {
        /// The holder to be.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
        /// Its length.
        size: u64,
    },
    /// A repository shall hold a blob that another one holds. [`Refusal::BlobUnknown`] if the source does not.
    MountBlob {
        /// The holder to be.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
        /// A present holder.
        from: RepositoryName,
    },
    /// A client deletes a blob from a repository.
    UnlinkBlob {
        /// The holder.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
        /// Go ahead although manifests need it; else [`Refusal::BlobReferenced`].
        even_if_referenced: bool,
    },
    /// The collector takes a blob from a repository, if no manifest there needs it. Else, or if the repository does not
    /// hold it, nothing happens.
    CollectBlob {
        /// The holder.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// A manifest whose bytes are in the content store shall be held by a repository, under these tags.
    PutManifest {
        /// The holder to be; made if need be.
        repository: RepositoryName,
        /// The digest it was pushed under.
        digest: Digest,
        /// What to remember of it.
        manifest: ManifestRecord,
        /// Content that must be in the repository, as blob or manifest. Empty where reference checks are off.
        required: Vec<Digest>,
        /// Content that must have this size *if* it is in the repository. Empty where sizes are not checked.
        compare: Vec<(Digest, u64)>,
        /// Tags to set to it.
        tags: Vec<Tag>,
        /// What must be true of the one tag or digest that the request names.
        precondition: Option<Precondition>,
    },
    /// A manifest, all its tags and its place among referrers go. [`Refusal::TooManyTags`] if those are more than fit one
    /// batch: see [`crate::catalog::Catalog::delete_manifest`].
    DeleteManifest {
        /// The holder.
        repository: RepositoryName,
        /// The manifest.
        digest: Digest,
    },
    /// Some tags of a manifest go, as many as fit one batch. Nothing happens if it has none.
    UntagManifest {
        /// The holder.
        repository: RepositoryName,
        /// The manifest.
        digest: Digest,
    },
    /// A tag goes; what it points at stays.
    DeleteTag {
        /// Where.
        repository: RepositoryName,
        /// Which.
        tag: Tag,
    },
    /// The list of unit roots of content is in the content store. Nothing happens if nobody holds that content any more.
    RecordUnitRoots {
        /// The content.
        digest: Digest,
        /// The content file that is its list.
        list: Digest,
        /// How many roots the list has.
        units: u64,
    },
    /// A backend acknowledged content. If nobody holds that any more, it is to be removed there again.
    RecordPlaced {
        /// The content.
        digest: Digest,
        /// Where it is.
        locator: Locator,
    },
    /// A backend may have content of which it was never recorded, and which nobody holds any more: it is to be removed
    /// there, anew if a removal was asked for already. Nothing happens if somebody holds it.
    RecordAbandoned {
        /// The content.
        digest: Digest,
        /// Where it may be.
        locator: Locator,
    },
    /// Content came back whole from where it was placed. Nothing happens if it was placed anew or given up since.
    RecordReadBack {
        /// The content.
        digest: Digest,
        /// Where it is.
        locator: Locator,
        /// The [`crate::catalog::Placement::sequence`] that was read.
        placed: u64,
        /// Those of the locator's endpoints that were asked.
        among: Vec<String>,
    },
    /// A backend no longer has content, because it was removed there or lost: the endpoints that the locator names, or
    /// all. What is known of others stays. Nothing happens if it was placed anew, or is to be removed anew, since.
    RecordUnplaced {
        /// The content.
        digest: Digest,
        /// Where it was.
        locator: Locator,
        /// The [`crate::catalog::Placement::sequence`] that was acted upon.
        standing: u64,
    },
}

/// `If-Match` and `If-None-Match: *` of a manifest PUT (RFC 9110 section 13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The tag points at one of these digests.
    TagIs(Tag, Vec<Digest>),
    /// The tag points at something.
    TagExists(Tag),
    /// The tag does not exist.
    TagAbsent(Tag),
    /// The repository holds the manifest.
    ManifestExists(Digest),
    /// The repository does not hold the manifest.
    ManifestAbsent(Digest),
}

/// Why a command was not carried out; nothing of its batch was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such repository.
    #[error("repository is not known")]
    RepositoryUnknown,
    /// The repository does not hold the blob.
    #[error("blob is not known")]
    BlobUnknown,
    /// The repository does not hold the manifest.
    #[error("manifest is not known")]
    ManifestUnknown,
    /// The repository does not have the tag.
    #[error("tag is not known")]
    TagUnknown,
    /// What a manifest refers to is not in its repository.
    #[error("{} referenced digests are not in this repository", .0.len())]
    ReferencesMissing(Vec<Digest>),
    /// A descriptor states another size than the content has.
    #[error("{digest} has {stored} bytes, the manifest says {stated}")]
    SizeMismatch {
        /// Of which content.
        digest: Digest,
        /// By the descriptor.
        stated: u64,
        /// In the store.
        stored: u64,
    },
    /// The manifest has more tags than one batch takes away.
    #[error("manifest has too many tags to go at once")]
    TooManyTags,
    /// Manifests of the repository need the blob; at most 10 are named.
    #[error("blob is needed by {} or more manifests", .0.len())]
    BlobReferenced(Vec<Digest>),
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("precondition does not hold")]
    PreconditionFailed,
    /// A locator that no journal should keep: without a kind or an address, with a zero byte, or too long.
    #[error("locator is not valid")]
    LocatorInvalid,
}

/// What a commit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The sequence of the last fact, or of the last one before if nothing changed.
    pub sequence: u64,
    /// Content that nobody holds any more: its file can go, under the digest's lock and after asking again.
    pub orphaned: Vec<Digest>,
}

/// Why a commit did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The request is at fault.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing can be written until there is space; deletes still can.
    #[error("the disk is full")]
    DiskFull,
    /// The journal failed: nothing can be written until the node is restarted. What was in flight is in doubt.
    #[error("the journal failed, this node is read-only")]
    ReadOnly,
    /// The index is being rebuilt, the queue is full, or the node stops. Try again.
    #[error("the catalog is busy")]
    Unavailable,
}

/// Why a read did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The index is being rebuilt. Try again.
    #[error("the index is being rebuilt")]
    Rebuilding,
}
