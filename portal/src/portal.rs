//! The portal: one per process, shared by everything that serves or maintains it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::blocklist::Blocklist;
use crate::entries::{EntryStore, EntryStoreError};
use crate::limits::RateLimit;
use crate::peers::{InvalidPeer, Peers, Timing};
use crate::pins::Pins;
use crate::read_only::ReadOnly;
use crate::sectors::{SectorSource, SectorStore};
use crate::skyfile::{Sectors, SkyfileReader, Skyfiles};
use crate::tus::Uploads;
use crate::{Metrics, PortalOptions};

/// Skyfiles that are fetched whole at once to be pinned; further ones wait.
const PINNED_AT_ONCE: usize = 8;

/// Skyfiles of which lost sectors are fetched at once without a reader of them; those of others wait for theirs.
const REPAIRED_AT_ONCE: usize = 1;

/// A portal that is open.
#[derive(Debug)]
pub struct Portal {
    pub(crate) options: PortalOptions,
    pub(crate) metrics: Metrics,
    pub(crate) opened: Instant,
    pub(crate) reader: SkyfileReader,
    /// Places for archives that are being made.
    pub(crate) archives: Arc<Semaphore>,
    /// What can be written; a gateway has nothing.
    stores: Option<Stores>,
}

/// What a portal writes.
#[derive(Debug)]
pub(crate) struct Stores {
    /// Where all of it lies.
    pub(crate) directory: PathBuf,
    pub(crate) skyfiles: Skyfiles,
    pub(crate) entries: Arc<EntryStore>,
    pub(crate) registry_writes: RateLimit,
    pub(crate) peers: Peers,
    /// Places for skyfiles that are fetched whole to be pinned.
    pub(crate) pinnings: Arc<Semaphore>,
    /// Places for pinned skyfiles of which what was lost is fetched.
    pub(crate) repairs: Arc<Semaphore>,
    pub(crate) uploads: Arc<Uploads>,
}

/// Why a portal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenPortalError {
    /// The directory cannot be made, read or written.
    #[error("cannot use the portal's directory")]
    Io(#[from] io::Error),
    /// The same of its registry entries.
    #[error(transparent)]
    Entries(#[from] EntryStoreError),
    /// The list of peers is wrong.
    #[error(transparent)]
    Peers(#[from] InvalidPeer),
    /// What was uploaded so far cannot be read.
    #[error("cannot take up the resumable uploads")]
    Uploads(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Portal {
    /// Opens the portal whose files lie below `directory`, which nobody else may use meanwhile. Blocks.
    pub fn open(directory: &Path, options: PortalOptions) -> Result<Self, OpenPortalError> {
        Portal::open_with(directory, options, Timing::default())
    }

    pub(crate) fn open_with(directory: &Path, options: PortalOptions, timing: Timing) -> Result<Self, OpenPortalError> {
        std::fs::create_dir_all(directory)?;
        let sectors = SectorStore::open(directory, options.profile.sector_size(), options.disk_reserve)?;
        let skyfiles = Skyfiles::new(sectors.clone(), Pins::open(directory)?, Blocklist::open(directory)?, &options);
        let entries = Arc::new(EntryStore::open(&directory.join("entries"), options.max_entries)?);
        let registry_writes = RateLimit::new(options.registry_rate);
        let peers = Peers::new(&options, &entries, sectors, timing)?;
        let uploads = Uploads::open(directory, skyfiles.clone(), &options)
            .map_err(|error| OpenPortalError::Uploads(Box::new(error)))?;
        let archives = Arc::new(Semaphore::new(options.max_archives));
        let (reader, uploads) = ((*skyfiles).clone(), Arc::new(uploads));
        let [pinnings, repairs] = [PINNED_AT_ONCE, REPAIRED_AT_ONCE].map(|places| Arc::new(Semaphore::new(places)));
        let directory = directory.to_owned();
        let stores = Some(Stores { directory, skyfiles, entries, registry_writes, peers, pinnings, repairs, uploads });
        Ok(Portal { options, metrics: Metrics::new(true), opened: Instant::now(), reader, archives, stores })
    }

    /// A gateway: a portal that serves the skyfiles of somebody else, refuses every write, and says of itself that it is
    /// no place to rely on. What it serves are files to keep, not pages to open.
    pub fn gateway(source: Arc<dyn SectorSource>, options: PortalOptions) -> Self {
        let sectors = Sectors::Made(options.profile.sector_size(), source);
        let reader = SkyfileReader::new(sectors, Blocklist::none());
        let archives = Arc::new(Semaphore::new(options.max_archives));
        Portal { options, metrics: Metrics::new(false), opened: Instant::now(), reader, archives, stores: None }
    }

    /// Whether it is a gateway.
    pub(crate) fn is_gateway(&self) -> bool {
        self.stores.is_none()
    }

    /// What can be written.
    pub(crate) fn stores(&self) -> Result<&Stores, ReadOnly> {
        self.stores.as_ref().ok_or(ReadOnly)
    }

    /// The peers, if there are any to ask.
    pub(crate) fn peers(&self) -> Option<&Peers> {
        self.stores.as_ref().map(|stores| &stores.peers).filter(|peers| !peers.is_empty())
    }
}
