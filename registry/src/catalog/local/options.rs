//! How a local catalog is opened, and what opening it found.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::journal::{self, JournalId};
use crate::catalog::placement::Wanted;

/// Default of [`CatalogOptions::index_cache_bytes`].
const INDEX_CACHE_BYTES: u64 = 64 << 20;

/// Default of [`CatalogOptions::index_reserve_bytes`].
const INDEX_RESERVE_BYTES: u64 = 64 << 20;

/// Default of [`CatalogOptions::queue_requests`].
const QUEUE_REQUESTS: usize = 1024;

/// Tells milliseconds since the Unix epoch.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// A clock of one's own.
    pub fn new(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Clock(Arc::new(now_ms))
    }

    /// The machine's clock.
    pub fn system() -> Self {
        Clock::new(|| {
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
        })
    }

    /// What it shows.
    pub fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// How to open a catalog.
#[derive(Clone, Debug)]
pub struct CatalogOptions {
    /// Where the journal is; made if need be.
    pub journal_dir: PathBuf,
    /// Where the index is; may be deleted while the catalog is closed.
    pub index_dir: PathBuf,
    /// The journal that must be there, if one is known to have been.
    pub expected_journal: Option<JournalId>,
    /// How the journal is kept.
    pub journal: journal::Options,
    /// Memory for pages of the index.
    pub index_cache_bytes: u64,
    /// With less free space beside the index, only commits that free space are taken: on a disk that is really full
    /// sled fails for reads as well.
    pub index_reserve_bytes: u64,
    /// How many commits may wait for the writer; more wait at the door.
    pub queue_requests: usize,
    /// When content counts as placed; `None` where there is nowhere to place it.
    pub placement: Option<Wanted>,
    /// The time of facts.
    pub clock: Clock,
    /// Names this boot of the machine: an index that was open when the machine stopped is not believed.
    /// Empty if it cannot be told.
    pub boot_id: String,
}

impl CatalogOptions {
    /// The defaults, at these places.
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
            boot_id: this_boot(),
        }
    }
}

/// Empty where the kernel does not tell.
fn this_boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// The journal's name.
    pub journal: JournalId,
    /// It was made just now.
    pub created: bool,
    /// The journal ended in a batch that was never acknowledged, which is removed.
    pub cut: Option<journal::Cut>,
    /// The last sequence.
    pub sequence: u64,
    /// Where the index comes from.
    pub index: IndexOrigin,
    /// How many entries it has.
    pub entries: u64,
    /// How long opening took.
    pub took: Duration,
}

/// Where an index comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexOrigin {
    /// It was as the journal is.
    Reused,
    /// It lacked the last facts.
    CaughtUp {
        /// How many.
        facts: u64,
    },
    /// It was made anew.
    Rebuilt {
        /// From how many facts.
        facts: u64,
        /// Why.
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

/// Why an index was not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RebuildReason {
    /// There was none.
    #[error("there was no index")]
    Absent,
    /// An earlier rebuild was interrupted.
    #[error("an earlier rebuild did not end")]
    Unfinished,
    /// Another version of this program made it.
    #[error("it has another schema")]
    OtherSchema,
    /// It is a view of another journal.
    #[error("it is of another journal")]
    OtherJournal,
    /// The facts that it lacks are compacted.
    #[error("it is older than the journal's snapshot")]
    OlderThanSnapshot,
    /// It knows of facts that the journal does not have.
    #[error("it is ahead of the journal")]
    PastJournalEnd,
    /// The machine stopped while it was open; sled does not sync what it writes.
    #[error("the machine stopped while it was open")]
    MachineCrash,
    /// It could not be read, or a check of all entries failed.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// Why a catalog cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenCatalogError {
    /// The journal does not open.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// The journal cannot be read for the index.
    #[error(transparent)]
    Replay(#[from] journal::ReplayError),
    /// The directory of the index refuses something.
    #[error("the index directory: {0}")]
    Directory(#[from] io::Error),
    /// The index is still open, in this process or another.
    #[error("the index is in use")]
    Locked,
    /// A new index cannot be written.
    #[error("the index cannot be built: {0}")]
    Index(String),
}
