//! Skyfiles: what a skylink names, written to and read from the sector store.

mod chunks;
mod content;
mod error;
mod reader;
mod stream;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use storage_backends::skynet::profile::Profile;
use storage_backends::skynet::skylink::Skylink;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

pub(crate) use error::{OpenError, WriteError};
pub(crate) use reader::Skyfile;
pub(crate) use stream::SkyfileStream;
pub(crate) use writer::SkyfileWriter;

use crate::PortalOptions;
use crate::pins::Pins;
use crate::sectors::SectorStore;
use content::Destination;
use writer::Limits;

/// All skyfiles of a portal. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Skyfiles {
    sectors: SectorStore,
    pins: Pins,
    profile: Profile,
    limits: Limits,
    uploads: Arc<Semaphore>,
}

impl Skyfiles {
    pub(crate) fn new(sectors: SectorStore, pins: Pins, options: &PortalOptions) -> Self {
        let limits = Limits { content: options.max_upload, metadata: options.max_metadata };
        let uploads = Arc::new(Semaphore::new(options.max_uploads));
        Skyfiles { sectors, pins, profile: options.profile, limits, uploads }
    }

    /// Opens the skyfile of a v1 skylink; `None` if it is not here.
    pub(crate) async fn open(&self, skylink: &Skylink) -> Result<Option<Skyfile>, OpenError> {
        let (sectors, skylink) = (self.sectors.clone(), *skylink);
        spawn_blocking(move || Skyfile::open(&sectors, skylink)).await.map_err(std::io::Error::from)?
    }

    /// Begins an upload, which is cut by the portal's profile.
    pub(crate) fn writer(&self) -> Result<SkyfileWriter, WriteError> {
        self.begin(self.profile, false)
    }

    /// The same, which stores nothing: its end is the skylink alone.
    pub(crate) fn dry_writer(&self) -> Result<SkyfileWriter, WriteError> {
        self.begin(self.profile, true)
    }

    fn begin(&self, profile: Profile, dry: bool) -> Result<SkyfileWriter, WriteError> {
        let permit = Arc::clone(&self.uploads).try_acquire_owned().map_err(|_| WriteError::TooManyUploads)?;
        if !dry && !self.sectors.has_room()? {
            return Err(WriteError::DiskFull);
        }
        let destination = Destination { sectors: self.sectors.clone(), pins: self.pins.clone(), profile, dry };
        Ok(SkyfileWriter::new(destination, self.limits, permit))
    }
}
