//! What commands find, as structs. `--json` prints their members.

use serde::{Deserialize, Serialize};

use crate::catalog::fact::Visibility;
use crate::catalog::{Elsewhere, Placement};
use crate::gc::Collected;
use crate::oci::{Digest, RepositoryName, Tag};

/// One item that a command found or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Item {
    /// The state of a node.
    Status(Box<Status>),
    /// A repository.
    Repository(Repository),
    /// A manifest, with the tag under which it was found.
    Manifest(Manifest),
    /// Another tag of the preceding manifest.
    Tag {
        /// The tag.
        tag: Tag,
    },
    /// Content that the preceding manifest references, or that manifest's own content.
    Part(Part),
    /// Who may see a repository from now on.
    Visibility {
        /// The repository.
        repository: RepositoryName,
        /// Who may see it.
        visibility: Visibility,
    },
    /// What `rm` removed.
    Removed(Removed),
    /// What a collection did.
    Collection {
        /// True if it only reported what it would do.
        dry_run: bool,
        /// The numbers of what it removed.
        #[serde(flatten)]
        collected: Collected,
    },
    /// A finding of `fsck`.
    Finding(Finding),
    /// The outcome of `fsck`.
    Checked {
        /// Records of the journal that were read.
        records: u64,
        /// Files of content that were read, or are missing.
        files: u64,
        /// Pieces of content that are only elsewhere, by the records. Their copies were not read.
        #[serde(default)]
        elsewhere: u64,
        /// Files that are damaged or missing.
        bad: u64,
        /// Files that were quarantined.
        put_aside: u64,
    },
    /// All files of content stay until the caller leaves.
    Held,
}

/// Whether a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Running {
    /// It runs and answers.
    Running,
    /// A process has locked the directory, but accepts no commands yet or no longer does.
    Starting,
    /// A process accepts commands, but did not answer in time.
    NotAnswering,
    /// No process has locked the directory.
    Stopped,
}

/// Whether a node can answer clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Yes.
    Ready,
    /// Yes, but pushes are refused: the disk of the content store fails.
    Degraded,
    /// Yes, but changes are refused: the journal failed.
    ReadOnly,
    /// No: the index is being rebuilt.
    Rebuilding,
    /// No: the node is stopping.
    Stopping,
}

/// The state of a node. Unknown values are absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether it runs.
    pub node: Running,
    /// Whether it can answer clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Version of the running program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Figures of the catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogFigures>,
    /// Open upload sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_uploads: Option<u64>,
    /// Files of the content store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Stored>,
    /// Free bytes on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// Bytes of the disk that uploads leave free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve_bytes: Option<u64>,
    /// The backend's endpoints. Absent without a backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<Copies>,
    /// Whether this node's disk could be lost without losing content.
    pub safety: Safety,
    /// Records of endpoints that are no longer configured.
    pub elsewhere: Elsewhere,
    /// Messages for the operator.
    pub notes: Vec<String>,
    /// Why a value is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl Status {
    /// The status of a node of which only the process state is known.
    pub fn of(node: Running) -> Self {
        Status {
            node,
            state: None,
            program: None,
            catalog: None,
            open_uploads: None,
            stored: None,
            free_bytes: None,
            reserve_bytes: None,
            copies: None,
            safety: Safety::of(Safe::NotKnown),
            elsewhere: Elsewhere::default(),
            notes: Vec::new(),
            trouble: None,
        }
    }
}

impl Status {
    /// Combines this status, which was read from files, with one that was read from records.
    #[must_use]
    pub fn with_records(mut self, records: Status) -> Self {
        self.notes.extend(records.notes);
        Status {
            stored: self.stored,
            free_bytes: self.free_bytes,
            reserve_bytes: self.reserve_bytes,
            notes: self.notes,
            trouble: self.trouble,
            ..records
        }
    }
}

/// Figures of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogFigures {
    /// Number of the last record.
    pub sequence: u64,
    /// Number of the last record that the snapshot covers.
    pub snapshot_sequence: u64,
    /// Bytes of the journal's files.
    pub journal_bytes: u64,
    /// Entries of the index.
    pub index_entries: u64,
    /// Rebuilds of the index since the start.
    pub rebuilds: u64,
}

/// Files of the content store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Number of files.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// False if the count stopped early.
    pub complete: bool,
}

/// Where copies are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// Copies wanted of each piece of content.
    pub wanted: u32,
    /// The configured endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint that keeps copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// Whether calls go to it: `available`, `resting` or `distrusted`.
    pub state: EndpointState,
}

/// Whether calls go to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointState {
    /// Calls go to it.
    Available,
    /// No calls for now: it failed too often recently.
    Resting,
    /// No calls: it gave an answer that no honest endpoint gives.
    Distrusted,
}

/// Whether a node's disk could be lost without losing content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Safe {
    /// Yes: by the records all content has its copies, all endpoints proved just now who they are, and each had a sample
    /// of its copies since it came up.
    Yes,
    /// No: some content lacks a copy, or a copy outside this machine.
    No,
    /// No: this node keeps no copies elsewhere.
    NoCopies,
    /// Unknown: the backend did not answer just now, or was not asked.
    NotKnown,
}

/// Whether this node's disk could be lost, in figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Safety {
    /// The verdict.
    pub safe: Safe,
    /// Pieces of content that lack a copy, by the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u64>,
    /// Bytes of that content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog_bytes: Option<u64>,
    /// Pieces of content not read back whole from any endpoint yet, including the backlog, by the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_read_back: Option<u64>,
    /// Other pieces of content whose copies would be lost together with this machine, by the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_here: Option<u64>,
    /// Pieces of content that portals have acknowledged and lost, by the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
    /// Pieces of content whose copies could not be read just now, and are being checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_doubt: Option<u64>,
    /// True if some copies of each portal were there since it came up, or all were asked for.
    #[serde(default)]
    pub sampled: bool,
    /// Seconds since all copies were asked for. Absent if that was not done since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audited_seconds_ago: Option<u64>,
    /// Pieces of content being placed now.
    pub running: u64,
    /// The last failure, if nothing has succeeded since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl Safety {
    /// A verdict without figures.
    pub fn of(safe: Safe) -> Self {
        Safety {
            safe,
            backlog: None,
            backlog_bytes: None,
            not_read_back: None,
            only_here: None,
            missing: None,
            in_doubt: None,
            sampled: false,
            audited_seconds_ago: None,
            running: 0,
            trouble: None,
        }
    }
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Its name.
    pub name: RepositoryName,
    /// Number of tags counted.
    pub tags: u64,
    /// True if there are more.
    pub more_tags: bool,
    /// True if only users with a right may pull from it.
    pub private: bool,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag under which it was found. Absent if it has none, or was asked for by digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Its digest.
    pub digest: Digest,
    /// Bytes of all content that it references, as far as the repository has it.
    pub image_bytes: u64,
    /// The media type.
    pub media_type: String,
    /// True if some tag points to it.
    pub tagged: bool,
}

/// The role of content in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The manifest itself.
    Manifest,
    /// The configuration of an image.
    Config,
    /// A layer of an image.
    Layer,
    /// An image of an index, for one platform.
    Platform,
    /// Unknown: the manifest's bytes are not on this node.
    Needed,
}

/// Content that a manifest references.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its role.
    pub role: Role,
    /// Its digest.
    pub digest: Digest,
    /// Bytes. For a platform, the bytes of everything it references. Absent if the repository does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The media type, by the descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// `os/architecture/variant`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// True if it has a local file.
    pub here: bool,
    /// Copies elsewhere, if the node has a backend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<Copy>,
}

/// A copy elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// Its record in the catalog.
    #[serde(flatten)]
    pub placement: Placement,
    /// Endpoints of the copy that are not configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_configured: Vec<String>,
}

/// What `rm` removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag, if only a tag was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The manifest, if one was removed with all its tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Number of manifests removed.
    pub manifests: u64,
}

/// A finding of `fsck`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    /// A damaged file of the journal.
    Journal {
        /// The file.
        file: String,
        /// The first damaged byte.
        offset: u64,
        /// The damage.
        what: String,
    },
    /// Records are lost.
    Lost {
        /// The records.
        what: String,
    },
    /// The journal was rebuilt from its readable records.
    JournalRepaired {
        /// Records that it contains.
        kept: u64,
        /// The directory of the damaged files.
        moved_to: String,
    },
    /// A file does not match its digest.
    Damaged {
        /// The digest of its content.
        digest: Digest,
    },
    /// A file is missing.
    Missing {
        /// The digest of its content.
        digest: Digest,
    },
    /// The disk fails to read a file.
    Unreadable {
        /// The digest of its content.
        digest: Digest,
    },
    /// A list of unit roots is damaged.
    ListDamaged {
        /// The digest of the list.
        digest: Digest,
    },
    /// A list of unit roots is missing, which is no fault.
    ListMissing {
        /// The digest of the list.
        digest: Digest,
    },
    /// A damaged file was quarantined.
    PutAside {
        /// The digest of its content.
        digest: Digest,
        /// True for a list of unit roots.
        list: bool,
    },
    /// A foreign file lies in the content store, which is no fault.
    Stranger {
        /// Its path.
        path: String,
    },
    /// Unreferenced files, which are no fault.
    Unreferenced {
        /// Number of files.
        files: u64,
    },
}
