//! What happened: the facts that the journal keeps for good and every view is made of.
//!
//! A fact is an upsert or a removal of one thing, named by its [`Fact::key`]; what a command does to several things is
//! several facts. So the state at any time is, for each key, the last fact that stands, and a snapshot is a merge by key.
//! `docs/on-disk-format.md` has the JSON of each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use backends::Locator;

use crate::oci::{Digest, RepositoryName, Tag};

/// A fact with its place in the order of things.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Grows by at least one from record to record; gaps mean nothing.
    pub sequence: u64,
    /// Milliseconds since the Unix epoch, by the clock of the node that wrote it.
    pub time: u64,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

/// One thing that came to be, changed or went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    /// A repository exists, with this visibility.
    Repository {
        /// Its name.
        repository: RepositoryName,
        /// Who may know of it.
        visibility: Visibility,
    },
    /// A repository holds a blob.
    BlobLinked {
        /// The holder.
        repository: RepositoryName,
        /// The digest it was pushed under.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// A repository no longer holds a blob.
    BlobUnlinked {
        /// The former holder.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// A repository holds a manifest.
    ManifestStored {
        /// The holder.
        repository: RepositoryName,
        /// The digest it was pushed under.
        digest: Digest,
        /// What the index needs to know of it.
        #[serde(flatten)]
        manifest: ManifestRecord,
    },
    /// A repository no longer holds a manifest. Its tags are removed by facts of their own, written before this one; where
    /// they are many, in earlier batches.
    ManifestDeleted {
        /// The former holder.
        repository: RepositoryName,
        /// The manifest.
        digest: Digest,
    },
    /// A tag points at a manifest.
    TagSet {
        /// Where.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// The digest, algorithm included, it was set with.
        digest: Digest,
    },
    /// A tag is gone.
    TagDeleted {
        /// Where.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
    },
    /// The list of Merkle roots of a blob's 4 MiB units is known; kept as a content file of its own.
    UnitRoots {
        /// The blob.
        digest: Digest,
        /// The content file that holds the roots.
        list: Digest,
        /// How many there are; 0 = the list is given up, with its blob.
        units: u64,
    },
    /// A backend acknowledged the bytes.
    Placed {
        /// The blob or manifest.
        digest: Digest,
        /// Where they are.
        locator: Locator,
        /// They were read back whole from there and matched the digest.
        read_back: bool,
        /// Endpoints the read-back may have come from. Empty: any in `locator`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        read_among: Vec<String>,
        /// When this took the place of an `UnpinPending`, in milliseconds since the Unix epoch: a removal that was asked
        /// for before may still arrive there. Absent again once the bytes were read back after that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_unpin: Option<u64>,
    },
    /// A backend no longer has the bytes.
    Unplaced {
        /// The blob or manifest.
        digest: Digest,
        /// Where they were.
        locator: Locator,
    },
    /// The bytes are to be removed from a backend; stands until an `Unplaced`.
    UnpinPending {
        /// The blob or manifest.
        digest: Digest,
        /// Where they still are.
        locator: Locator,
    },
}

/// Who may know of a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Anyone who reaches the registry.
    #[default]
    Public,
    /// Those who are let in.
    Private,
}

/// What the index needs to know of a manifest; the bytes are a content file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManifestRecord {
    /// As pushed, without parameters.
    pub media_type: String,
    /// Length in bytes.
    pub size: u64,
    /// The digest of the manifest that it is about, as written: its algorithm may be one that we cannot compute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
    /// `artifactType`, or the config's media type of an image manifest without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Only kept where there is a subject: they are listed in its referrers.
    #[serde(default, skip_serializing_if = "Annotations::is_none")]
    pub annotations: Annotations,
    /// Digests of the config, layers and child manifests that must stay as long as this manifest does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Digest>,
}

/// The annotations of a referrer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Annotations {
    /// There are none, or nobody will ask for them.
    #[default]
    None,
    /// All of them; at most 4 KiB as JSON.
    Inline(BTreeMap<String, String>),
    /// Too large for a record: read the manifest's body.
    InBody,
}

impl Annotations {
    fn is_none(&self) -> bool {
        *self == Annotations::None
    }
}

impl Fact {
    /// Names the thing that the fact is about. Facts of one key replace each other; keys sort by kind, then by name,
    /// with repositories first, so that replaying a snapshot meets a holder before what it holds.
    pub fn key(&self) -> Vec<u8> {
        let parts: (u8, &[&str]) = match self {
            Fact::Repository { repository, .. } => (b'0', &[repository.as_str()]),
            Fact::BlobLinked { repository, digest, .. } | Fact::BlobUnlinked { repository, digest } => {
                (b'1', &[repository.as_str(), digest.as_str()])
            }
            Fact::ManifestStored { repository, digest, .. } | Fact::ManifestDeleted { repository, digest } => {
                (b'2', &[repository.as_str(), digest.as_str()])
            }
            Fact::TagSet { repository, tag, .. } | Fact::TagDeleted { repository, tag } => {
                (b'3', &[repository.as_str(), tag.as_str()])
            }
            Fact::UnitRoots { digest, .. } => (b'4', &[digest.as_str()]),
            Fact::Placed { digest, locator, .. }
            | Fact::Unplaced { digest, locator }
            | Fact::UnpinPending { digest, locator } => {
                (b'5', &[digest.as_str(), &locator.kind, &locator.profile, &locator.address])
            }
        };
        let mut key = vec![parts.0];
        for part in parts.1 {
            key.extend_from_slice(part.as_bytes());
            key.push(0);
        }
        key
    }

    /// True if the thing is gone with this fact: a snapshot leaves it out.
    pub fn is_removal(&self) -> bool {
        matches!(
            self,
            Fact::BlobUnlinked { .. }
                | Fact::ManifestDeleted { .. }
                | Fact::TagDeleted { .. }
                | Fact::UnitRoots { units: 0, .. }
                | Fact::Unplaced { .. }
        )
    }
}
