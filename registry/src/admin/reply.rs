//! What commands find, as structs: the members of each are what `--json` prints.

use serde::{Deserialize, Serialize};

use crate::catalog::{Elsewhere, Placement};
use crate::gc::Collected;
use crate::oci::{Digest, RepositoryName, Tag};

/// One thing that a command found or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Item {
    /// How a node is.
    Status(Box<Status>),
    /// A repository.
    Repository(Repository),
    /// A manifest, with the tag that it was found by.
    Manifest(Manifest),
    /// Another tag of the manifest before it.
    Tag {
        /// The tag.
        tag: Tag,
    },
    /// What the manifest before it refers to; or that manifest itself, as content.
    Part(Part),
    /// What was removed.
    Removed(Removed),
    /// What a collection did.
    Collection {
        /// It only said what it would do.
        dry_run: bool,
        /// How much.
        #[serde(flatten)]
        collected: Collected,
    },
    /// What a check found.
    Finding(Finding),
    /// How a check of all content ended.
    Checked {
        /// Records of the journal that were read.
        records: u64,
        /// Files of content that were read.
        files: u64,
        /// Those that are damaged or missing.
        bad: u64,
        /// Those that were put aside.
        put_aside: u64,
    },
    /// All files of content stay until the caller leaves.
    Held,
}

/// Whether a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Running {
    /// It answers.
    Running,
    /// A process has the directory and takes no commands yet, or no more.
    Starting,
    /// A process takes commands and did not answer in time.
    NotAnswering,
    /// No process has the directory.
    Stopped,
}

/// Whether a node can answer clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It can.
    Ready,
    /// It can, and takes no pushes: the disk of the content store fails.
    Degraded,
    /// It can, and takes no changes: the journal failed.
    ReadOnly,
    /// It cannot: the index is being rebuilt.
    Rebuilding,
    /// It cannot: it stops.
    Stopping,
}

/// How a node is. What is not known is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether it runs.
    pub node: Running,
    /// Whether it can answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// The version of the program that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogFigures>,
    /// Upload sessions that are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_uploads: Option<u64>,
    /// What lies in the content store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Stored>,
    /// Bytes of the disk that are free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// Bytes of the disk that uploads leave free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve_bytes: Option<u64>,
    /// Where copies go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<Copies>,
    /// Whether this node could be lost now.
    pub safety: Safety,
    /// What is recorded where this node does not go any more.
    pub elsewhere: Elsewhere,
    /// What the operator should read.
    pub notes: Vec<String>,
    /// Why something is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl Status {
    /// The status of a node when only its process state is known.
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

/// The catalog in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogFigures {
    /// The last record.
    pub sequence: u64,
    /// The last one that the snapshot covers.
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
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// All were counted; `false` where there was no time for that.
    pub complete: bool,
}

/// Where copies go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// How many each piece of content should have.
    pub wanted: u32,
    /// Where.
    pub endpoints: Vec<Endpoint>,
}

/// One place of copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// Whether it is worth asking: `available`, `resting` or `distrusted`.
    pub state: EndpointState,
}

/// Whether an endpoint is worth asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointState {
    /// Yes.
    Available,
    /// It failed too often lately.
    Resting,
    /// It answered what no honest one does.
    Distrusted,
}

/// Whether a node could be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Safe {
    /// Nothing lacks a copy, by the records, and the backend answered just now.
    Yes,
    /// Something lacks a copy.
    No,
    /// This node keeps no copies elsewhere.
    NoCopies,
    /// The backend did not answer just now, or was not asked.
    NotKnown,
}

/// Whether this node could be lost now, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Safety {
    /// The short answer.
    pub safe: Safe,
    /// Pieces of content that lack a copy, by the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u64>,
    /// Their bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog_bytes: Option<u64>,
    /// Pieces of content that no place gave back whole yet, the backlog included, by the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_read_back: Option<u64>,
    /// The copies are at the attached portal only, on this machine's own disk.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_this_disk: bool,
    /// Pieces of content on their way.
    pub running: u64,
    /// What went wrong last, if nothing has gone well since.
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
            on_this_disk: false,
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
    /// How many tags were counted.
    pub tags: u64,
    /// There are more.
    pub more_tags: bool,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Whose.
    pub repository: RepositoryName,
    /// The tag that it was found by; absent if it has none, or was asked for by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Its digest.
    pub digest: Digest,
    /// Bytes of all that it needs, as far as they are in the repository.
    pub image_bytes: u64,
    /// Its type.
    pub media_type: String,
    /// Some tag points at it.
    pub tagged: bool,
}

/// What content is to a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The manifest itself.
    Manifest,
    /// The configuration of an image.
    Config,
    /// A layer of an image.
    Layer,
    /// An image of an index, for a platform.
    Platform,
    /// Not known: the manifest's bytes are not here.
    Needed,
}

/// Content that a manifest needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is.
    pub role: Role,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes; of a platform, those of all that it needs. Absent if the repository does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Its type, by the descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// `os/architecture/variant`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Its file is here.
    pub here: bool,
    /// Copies elsewhere, on a node that keeps some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<Copy>,
}

/// A copy elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// What is recorded of it.
    #[serde(flatten)]
    pub placement: Placement,
    /// Those of its endpoints that are not configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_configured: Vec<String>,
}

/// What `rm` removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// From which repository.
    pub repository: RepositoryName,
    /// The tag, if only that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The manifest with all its tags, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// How many manifests.
    pub manifests: u64,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    /// Something is wrong with a file of the journal.
    Journal {
        /// Which.
        file: String,
        /// From which byte on.
        offset: u64,
        /// What.
        what: String,
    },
    /// Records are lost.
    Lost {
        /// Which.
        what: String,
    },
    /// The journal was rebuilt from its readable records.
    JournalRepaired {
        /// Records in it.
        kept: u64,
        /// Where the damaged files are.
        moved_to: String,
    },
    /// A file is not what its digest says.
    Damaged {
        /// Which.
        digest: Digest,
    },
    /// A file is missing.
    Missing {
        /// Which.
        digest: Digest,
    },
    /// The disk does not give a file.
    Unreadable {
        /// Which.
        digest: Digest,
    },
    /// A list of unit roots is damaged.
    ListDamaged {
        /// Which.
        digest: Digest,
    },
    /// A list of unit roots is missing, which is no fault.
    ListMissing {
        /// Which.
        digest: Digest,
    },
    /// A damaged file was put aside.
    PutAside {
        /// Which.
        digest: Digest,
        /// It is a list of unit roots.
        list: bool,
    },
    /// A file in the content store is not ours, which is no fault.
    Stranger {
        /// Which.
        path: String,
    },
    /// Unreferenced files, which are no fault.
    Unreferenced {
        /// How many.
        files: u64,
    },
}
