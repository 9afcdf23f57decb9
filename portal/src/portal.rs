//! The portal: one per process, shared by all serving and maintenance tasks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serving::Pool;
use skynet_formats::identity::IdentityKey;
use tokio::sync::Semaphore;

use crate::blocklist::Blocklist;
use crate::entries::{EntryStore, EntryStoreError};
use crate::identity::{self, IdentityError};
use crate::limits::RateLimit;
use crate::peers::{InvalidPeer, Peers, Timing};
use crate::pins::Pins;
use crate::read_only::ReadOnly;
use crate::sectors::{SectorSource, SectorStore};
use crate::skyfile::{Sectors, SkyfileReader, Skyfiles};
use crate::tus::Uploads;
use crate::{Metrics, PortalOptions, Resource};

/// Skyfiles that are fetched whole at once for a pin; further ones wait.
const PINNED_AT_ONCE: usize = 8;

/// Skyfiles with lost sectors that are repaired at once without a reader. Readers of other skyfiles wait for their own
/// sectors.
const REPAIRED_AT_ONCE: usize = 1;

/// An open portal.
#[derive(Debug)]
pub struct Portal {
    pub(crate) options: PortalOptions,
    pub(crate) metrics: Metrics,
    pub(crate) opened: Instant,
    pub(crate) reader: SkyfileReader,
    /// Permits for archives that are being made.
    pub(crate) archives: Arc<Pool>,
    /// The writable stores; a gateway has none.
    stores: Option<Stores>,
}

/// The stores that a portal writes.
#[derive(Debug)]
pub(crate) struct Stores {
    /// The directory of all stores.
    pub(crate) directory: PathBuf,
    /// Proves who this portal is.
    pub(crate) identity: IdentityKey,
    pub(crate) skyfiles: Skyfiles,
    pub(crate) entries: Arc<EntryStore>,
    pub(crate) registry_writes: RateLimit,
    pub(crate) lookups: RateLimit,
    pub(crate) peers: Peers,
    /// Permits for skyfiles that are fetched whole to be pinned.
    pub(crate) pinnings: Arc<Semaphore>,
    /// Permits for the repair of pinned skyfiles with lost sectors.
    pub(crate) repairs: Arc<Semaphore>,
    pub(crate) uploads: Arc<Uploads>,
}

/// Reasons why a portal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenPortalError {
    /// The directory cannot be made, read or written.
    #[error("cannot use the portal's directory")]
    Io(#[from] io::Error),
    /// The key in it cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The directory of its registry entries cannot be used.
    #[error(transparent)]
    Entries(#[from] EntryStoreError),
    /// The list of peers is invalid.
    #[error(transparent)]
    Peers(#[from] InvalidPeer),
    /// The resumable uploads cannot be read.
    #[error("cannot take up the resumable uploads")]
    Uploads(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Portal {
    /// Opens the portal with its files below `directory`, which must not be used by another process meanwhile. Blocks.
    pub fn open(directory: &Path, options: PortalOptions) -> Result<Self, OpenPortalError> {
        Portal::open_with(directory, options, Timing::default())
    }

    pub(crate) fn open_with(directory: &Path, options: PortalOptions, timing: Timing) -> Result<Self, OpenPortalError> {
        std::fs::create_dir_all(directory)?;
        let identity = identity::open(directory)?;
        let sectors = SectorStore::open(directory, options.profile.sector_size(), options.uploads_reserve())?;
        let pins = Pins::open(directory, options.disk_reserve)?;
        let skyfiles = Skyfiles::new(sectors.clone(), pins, Blocklist::open(directory)?, &options);
        let entries = EntryStore::open(&directory.join("entries"), options.max_entries)?;
        let entries = Arc::new(entries.leaving(options.disk_reserve));
        let [registry_writes, lookups] = [options.registry_rate, options.lookup_rate].map(RateLimit::new);
        let peers = Peers::new(&options, &entries, sectors, timing)?;
        let uploads = Uploads::open(directory, skyfiles.clone(), &options)
            .map_err(|error| OpenPortalError::Uploads(Box::new(error)))?;
        let archives = Pool::new(Resource::Archives.name(), options.max_archives, options.permit_patience);
        let (reader, uploads) = ((*skyfiles).clone(), Arc::new(uploads));
        let [pinnings, repairs] = [PINNED_AT_ONCE, REPAIRED_AT_ONCE].map(|places| Arc::new(Semaphore::new(places)));
        let directory = directory.to_owned();
        let stores = Some(Stores {
            directory,
            identity,
            skyfiles,
            entries,
            registry_writes,
            lookups,
            peers,
            pinnings,
            repairs,
            uploads,
        });
        Ok(Portal { options, metrics: Metrics::new(true), opened: Instant::now(), reader, archives, stores })
    }

    /// A gateway: a portal that serves foreign skyfiles, refuses every write, and tells clients that it is no reliable
    /// copy. Its content is for download, not for opening in a browser.
    pub fn gateway(source: Arc<dyn SectorSource>, options: PortalOptions) -> Self {
        let sectors = Sectors::Made(options.profile.sector_size(), source);
        let reader = SkyfileReader::new(sectors, Blocklist::none());
        let archives = Pool::new(Resource::Archives.name(), options.max_archives, options.permit_patience);
        Portal { options, metrics: Metrics::new(false), opened: Instant::now(), reader, archives, stores: None }
    }

    /// True for a gateway.
    pub(crate) fn is_gateway(&self) -> bool {
        self.stores.is_none()
    }

    /// The writable stores.
    pub(crate) fn stores(&self) -> Result<&Stores, ReadOnly> {
        self.stores.as_ref().ok_or(ReadOnly)
    }

    /// The peers, if there are any.
    pub(crate) fn peers(&self) -> Option<&Peers> {
        self.stores.as_ref().map(|stores| &stores.peers).filter(|peers| !peers.is_empty())
    }
}
