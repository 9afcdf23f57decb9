//! Facts: the changes that the journal keeps forever. All views are made from them.
//!
//! A fact sets or removes one thing, named by its [`Fact::key`]. A command that changes several things becomes several
//! facts. So the state at any time is the last fact of each key, and a snapshot is a merge by key.
//! `docs/on-disk-format.md` has the JSON of each fact.

use std::collections::BTreeMap;

use backends::UNIT;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

pub use backends::Locator;

use crate::oci::{Digest, RepositoryName, Tag};

/// Most units of one piece of content, whose length is a 64-bit number. A journal of others may say any number, so a
/// higher one makes its record invalid. The length of a list with that many roots fits.
pub const MAX_UNITS: u64 = u64::MAX / UNIT;

/// A fact with its position in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Increases by at least one from record to record. Gaps mean nothing.
    pub sequence: u64,
    /// Time of the commit in milliseconds since the Unix epoch, by the node's clock.
    pub time: u64,
    /// The change.
    #[serde(flatten)]
    pub fact: Fact,
}

/// One thing that was created, changed or removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    /// A repository exists with this visibility.
    Repository {
        /// Its name.
        repository: RepositoryName,
        /// Who may see it.
        visibility: Visibility,
    },
    /// A repository has a blob.
    BlobLinked {
        /// The repository.
        repository: RepositoryName,
        /// The digest under which it was pushed.
        digest: Digest,
        /// Length in bytes.
        size: u64,
    },
    /// A repository no longer has a blob.
    BlobUnlinked {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// A repository has a manifest.
    ManifestStored {
        /// The repository.
        repository: RepositoryName,
        /// The digest under which it was pushed.
        digest: Digest,
        /// The manifest's record.
        #[serde(flatten)]
        manifest: ManifestRecord,
    },
    /// A repository no longer has a manifest. Facts before this one remove its tags; if there are many, in earlier
    /// batches.
    ManifestDeleted {
        /// The repository.
        repository: RepositoryName,
        /// The manifest.
        digest: Digest,
    },
    /// A tag points to a manifest.
    TagSet {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// The digest that it was set with, in that algorithm.
        digest: Digest,
    },
    /// A tag was removed.
    TagDeleted {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
    },
    /// The list of Merkle roots of a blob's 4 MiB units is known, and stored as a content file of its own.
    UnitRoots {
        /// The blob.
        digest: Digest,
        /// The content file with the roots.
        list: Digest,
        /// Number of roots, at most [`MAX_UNITS`]; 0: the list is removed, with its blob.
        #[serde(deserialize_with = "units")]
        units: u64,
    },
    /// A backend acknowledged content.
    Placed {
        /// The blob or manifest.
        digest: Digest,
        /// Where the copy is.
        locator: Locator,
        /// True if it was read back whole from there, and matched the digest.
        read_back: bool,
        /// Endpoints the read-back may have come from. Empty: any in `locator`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        read_among: Vec<String>,
        /// Endpoints that acknowledged it and do not have it any more. They are not in `locator`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        missing: Vec<String>,
        /// Set if this fact replaced an `UnpinPending`: the time of the replacement, in milliseconds since the Unix
        /// epoch. A removal requested before may still take effect. Absent after the next read-back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_unpin: Option<u64>,
    },
    /// A backend no longer has content.
    Unplaced {
        /// The blob or manifest.
        digest: Digest,
        /// Where the copy was.
        locator: Locator,
    },
    /// Content must be removed from a backend; in force until an `Unplaced`.
    UnpinPending {
        /// The blob or manifest.
        digest: Digest,
        /// Where the copy still is.
        locator: Locator,
    },
}

/// Who may see a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Any client.
    #[default]
    Public,
    /// Authorized clients.
    Private,
}

/// The index's data on a manifest. Its bytes are a content file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManifestRecord {
    /// The media type as pushed, without parameters.
    pub media_type: String,
    /// Length in bytes.
    pub size: u64,
    /// The digest of the subject as written. Its algorithm may be unknown here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
    /// `artifactType`; without it, for an image manifest, the config's media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Annotations. Only kept with a subject, since the list of referrers shows them.
    #[serde(default, skip_serializing_if = "Annotations::is_none")]
    pub annotations: Annotations,
    /// Digests of the config, layers and child manifests. They must stay as long as the manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Digest>,
}

/// The annotations of a referrer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Annotations {
    /// It has none, or no client can ask for them.
    #[default]
    None,
    /// All annotations, at most 4 KiB as JSON.
    Inline(BTreeMap<String, String>),
    /// Too large for a record: read them from the manifest.
    InBody,
}

impl Annotations {
    fn is_none(&self) -> bool {
        *self == Annotations::None
    }
}

fn units<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let units = u64::deserialize(deserializer)?;
    if units <= MAX_UNITS { Ok(units) } else { Err(D::Error::custom("an impossible number of unit roots")) }
}

impl Fact {
    /// The key of the thing that the fact is about. Facts with one key replace each other. Keys sort by kind, then by
    /// name. Repositories come first, so that a replay meets a repository before its content.
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

    /// True if the fact removes its thing, so that a snapshot omits it.
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
