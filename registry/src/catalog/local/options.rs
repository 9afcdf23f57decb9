//! Options for opening a local catalog, and the report on what was found.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::journal::{self, JournalId};
use super::progress::Progress;
use crate::catalog::places::Wanted;

/// Default of [`CatalogOptions::index_cache_bytes`].
const INDEX_CACHE_BYTES: u64 = 64 << 20;

/// Default of [`CatalogOptions::index_reserve_bytes`].
const INDEX_RESERVE_BYTES: u64 = 64 << 20;

/// Default of [`CatalogOptions::queue_requests`].
const QUEUE_REQUESTS: usize = 1024;

/// Default of [`CatalogOptions::index_ballast_bytes`].
const INDEX_BALLAST_BYTES: u64 = 8 << 20;

/// Default of [`CatalogOptions::most_index_failures`].
const INDEX_FAILURES: u32 = 8;

/// A clock in milliseconds since the Unix epoch.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// A clock that calls `now_ms`.
    pub fn new(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Clock(Arc::new(now_ms))
    }

    /// The machine's clock.
    pub fn system() -> Self {
        Clock::new(|| {
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
        })
    }

    /// The current time of this clock.
    pub fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Options for opening a catalog.
#[derive(Clone, Debug)]
pub struct CatalogOptions {
    /// Directory of the journal; created if it is missing.
    pub journal_dir: PathBuf,
    /// Directory of the index. It may be deleted while the catalog is closed.
    pub index_dir: PathBuf,
    /// Id that the journal must have, if one is known.
    pub expected_journal: Option<JournalId>,
    /// Options of the journal.
    pub journal: journal::Options,
    /// Memory for index pages.
    pub index_cache_bytes: u64,
    /// Bytes of the index's file system that commits leave free, except those that free space: on a full disk sled
    /// fails even for reads.
    pub index_reserve_bytes: u64,
    /// Most commits waiting for the writer. Callers beyond that wait for space in the queue.
    pub queue_requests: usize,
    /// When content counts as placed; `None` without a backend.
    pub placement: Option<Wanted>,
    /// The clock for facts.
    pub clock: Clock,
    /// When [`super::Catalog::open_to_read`] gives up; `None`: never.
    pub deadline: Option<Instant>,
    /// Identifies this boot of the machine. An index that was open when the machine stopped is not trusted. Empty if
    /// unknown.
    pub boot_id: String,
    /// Shows how far a rebuild of the index is, also during the opening.
    pub progress: Arc<Progress>,
    /// Least bytes reserved for a rebuild of the index on a full disk. The reservation grows with the index. 0: none.
    pub index_ballast_bytes: u64,
    /// Failures of the index since the start after which the node ends. Each costs the memory of an index.
    pub most_index_failures: u32,
    /// Called with the reason when the index cannot be rebuilt, or failed too often. It should end the process. If it
    /// returns, the catalog closes.
    pub on_index_lost: fn(&str),
}

impl CatalogOptions {
    /// Default options for these directories.
    pub fn new(journal_dir: impl Into<PathBuf>, index_dir: impl Into<PathBuf>) -> Self {
        CatalogOptions {
            journal_dir: journal_dir.into(),
            index_dir: index_dir.into(),
            expected_journal: None,
            journal: journal::Options::default(),
            index_cache_bytes: INDEX_CACHE_BYTES,
            index_reserve_bytes: INDEX_RESERVE_BYTES,
            queue_requests: QUEUE_REQUESTS,
            placement: None,
            clock: Clock::system(),
            deadline: None,
            boot_id: this_boot(),
            progress: Arc::default(),
            index_ballast_bytes: INDEX_BALLAST_BYTES,
            most_index_failures: INDEX_FAILURES,
            on_index_lost: |why| tracing::error!(why, "the index is lost"),
        }
    }
}

/// This boot's id; empty if the kernel does not provide it.
pub(super) fn this_boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// What opening a catalog found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// The journal's id.
    pub journal: JournalId,
    /// True if the journal is new.
    pub created: bool,
    /// The cut at the journal's end, if it ended in a batch that was never acknowledged.
    pub cut: Option<journal::Cut>,
    /// The last sequence.
    pub sequence: u64,
    /// How the index was obtained.
    pub index: IndexOrigin,
    /// Number of its entries.
    pub entries: u64,
    /// Duration of the opening.
    pub took: Duration,
}

/// How an index was obtained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexOrigin {
    /// It was up to date.
    Reused,
    /// It lacked the last facts, which were applied.
    CaughtUp {
        /// Number of facts.
        facts: u64,
    },
    /// It was rebuilt.
    Rebuilt {
        /// Number of facts it was built from.
        facts: u64,
        /// The reason.
        because: RebuildReason,
    },
}

impl fmt::Display for IndexOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexOrigin::Reused => f.write_str("reused"),
            IndexOrigin::CaughtUp { facts } => write!(f, "caught up by {facts} facts"),
            IndexOrigin::Rebuilt { facts, because } => write!(f, "rebuilt from {facts} facts: {because}"),
        }
    }
}

/// Why an existing index was not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RebuildReason {
    /// There was no index.
    #[error("there was no index")]
    Absent,
    /// An earlier rebuild was interrupted.
    #[error("an earlier rebuild did not finish")]
    Unfinished,
    /// It was built by another version of this program.
    #[error("it has another schema")]
    OtherSchema,
    /// It belongs to another journal.
    #[error("it belongs to another journal")]
    OtherJournal,
    /// The journal no longer has the facts that it lacks, since they were compacted.
    #[error("it is older than the journal's snapshot")]
    OlderThanSnapshot,
    /// It has facts that the journal does not have.
    #[error("it is ahead of the journal")]
    PastJournalEnd,
    /// The machine stopped while it was open. Since sled does not sync its writes, it may be damaged.
    #[error("the machine stopped while it was open")]
    MachineCrash,
    /// It could not be read, or failed the check of all entries.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// Why a catalog could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenCatalogError {
    /// The journal could not be opened.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// The journal could not be read for the index.
    #[error(transparent)]
    Replay(#[from] journal::ReplayError),
    /// The index directory could not be used.
    #[error("cannot use the index directory: {0}")]
    Directory(#[from] io::Error),
    /// The index is still open, in this process or another.
    #[error("the index is in use")]
    Locked,
    /// A new index could not be built.
    #[error("the index cannot be built: {0}")]
    Index(String),
    /// The deadline has passed.
    #[error("the records of the journal could not be read in time")]
    Late,
}
