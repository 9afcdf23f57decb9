//! The portal: one per process, shared by everything that serves or maintains it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::blocklist::Blocklist;
use crate::entries::{EntryStore, EntryStoreError};
use crate::limits::RateLimit;
use crate::peers::{InvalidPeer, Peers, Timing};
use crate::pins::Pins;
use crate::sectors::SectorStore;
use crate::skyfile::Skyfiles;
use crate::tus::Uploads;
use crate::{Metrics, PortalOptions};

/// A portal that is open.
#[derive(Debug)]
pub struct Portal {
    pub(crate) options: PortalOptions,
    pub(crate) metrics: Metrics,
    pub(crate) opened: Instant,
    pub(crate) skyfiles: Skyfiles,
    pub(crate) entries: Arc<EntryStore>,
    pub(crate) registry_writes: RateLimit,
    pub(crate) peers: Peers,
    pub(crate) uploads: Arc<Uploads>,
    /// Places for archives that are being made.
    pub(crate) archives: Arc<Semaphore>,
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
        let (metrics, uploads) = (Metrics::new(), Arc::new(uploads));
        let archives = Arc::new(Semaphore::new(options.max_archives));
        let opened = Instant::now();
        Ok(Portal { options, metrics, opened, skyfiles, entries, registry_writes, peers, uploads, archives })
    }
}
