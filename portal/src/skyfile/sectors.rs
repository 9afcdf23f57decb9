//! The sources of skyfiles' sectors: a store, peers, or a source that makes them.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use skynet_formats::profile::SectorSize;
use skynet_formats::sector::SectorRoot;

use crate::peers::Fetch;
use crate::sectors::{Sector, SectorSource, SectorStore, SourceFile, Stretch, zero_root};

/// The source of the sectors of all skyfiles, or of one skyfile.
#[derive(Clone, Debug)]
pub(crate) enum Sectors {
    /// Stored as files of their own.
    Stored(SectorStore),
    /// The sectors of one skyfile with missing ones, which are fetched before they are opened.
    Fetched(SectorStore, Arc<Fetch>),
    /// Made on request.
    Made(SectorSize, Arc<dyn SectorSource>),
    /// The sectors of one skyfile, made on request.
    OfOne(SectorSize, Arc<dyn SourceFile>),
}

impl Sectors {
    /// The size of every sector.
    pub(crate) fn sector_size(&self) -> SectorSize {
        match self {
            Sectors::Stored(store) | Sectors::Fetched(store, _) => store.sector_size(),
            Sectors::Made(size, _) | Sectors::OfOne(size, _) => *size,
        }
    }

    /// Opens a sector.
    pub(crate) fn open_sector(&self, root: &SectorRoot) -> io::Result<Option<Sector>> {
        match self {
            Sectors::Stored(store) | Sectors::Fetched(store, _) => store.open_sector(root),
            // Content that ends early in its last chunk leaves such pieces; they need not be stored.
            Sectors::Made(size, _) if *root == zero_root(*size) => Sector::made(*size, Bytes::new(), None).map(Some),
            Sectors::Made(_, source) => match source.find(root)? {
                Some(file) => file.open(root),
                None => source.find_data(root),
            },
            Sectors::OfOne(_, file) => file.open(root),
        }
    }

    /// Opens a base sector; returns it with the source of the other sectors of its skyfile.
    pub(crate) fn open_base(&self, root: &SectorRoot) -> io::Result<Option<(Sector, Sectors)>> {
        let sectors = match self {
            Sectors::Stored(_) | Sectors::Fetched(..) | Sectors::OfOne(..) => self.clone(),
            Sectors::Made(size, source) => match source.find(root)? {
                Some(file) => Sectors::OfOne(*size, file),
                None => return Ok(None),
            },
        };
        Ok(sectors.open_sector(root)?.map(|sector| (sector, sectors)))
    }

    /// The whole content of one skyfile, if it is contiguous in a file.
    pub(crate) fn content(&self) -> Option<Stretch> {
        match self {
            Sectors::OfOne(_, file) => file.content(),
            Sectors::Stored(_) | Sectors::Fetched(..) | Sectors::Made(..) => None,
        }
    }

    /// True if a sector is local.
    pub(crate) fn contains(&self, root: &SectorRoot) -> io::Result<bool> {
        match self {
            Sectors::Stored(store) | Sectors::Fetched(store, _) => store.contains(root),
            Sectors::Made(..) | Sectors::OfOne(..) => Ok(self.open_sector(root)?.is_some()),
        }
    }

    /// The store from which sectors may be swept; sectors made on request are not swept.
    pub(crate) fn store(&self) -> Option<&SectorStore> {
        match self {
            Sectors::Stored(store) | Sectors::Fetched(store, _) => Some(store),
            Sectors::Made(..) | Sectors::OfOne(..) => None,
        }
    }
}

impl From<SectorStore> for Sectors {
    fn from(store: SectorStore) -> Self {
        Sectors::Stored(store)
    }
}
