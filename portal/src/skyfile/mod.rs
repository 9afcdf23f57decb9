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
use storage_backends::skynet::skylink::{Skylink, Target};
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;

pub(crate) use error::{OpenError, WriteError};
pub(crate) use reader::Skyfile;
pub(crate) use stream::SkyfileStream;
pub(crate) use writer::SkyfileWriter;

use crate::PortalOptions;
use crate::pins::Pins;
use crate::sectors::{Held, SectorStore};
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
    /// Something became unreachable.
    pub(crate) unpinned: Arc<Notify>,
}

/// Opens a skyfile whose base sector is held before anybody looks whether it stands.
fn open_held(sectors: &SectorStore, skylink: Skylink, held: &mut Held) -> Result<Option<Skyfile>, OpenError> {
    let Target::Sector { root, .. } = skylink.target() else { return Err(OpenError::NotV1) };
    held.add(root);
    Skyfile::open(sectors, skylink)
}

impl Skyfiles {
    /// Over these sectors and pins.
    pub(crate) fn new(sectors: SectorStore, pins: Pins, options: &PortalOptions) -> Self {
        let limits = Limits { content: options.max_upload, metadata: options.max_metadata };
        let uploads = Arc::new(Semaphore::new(options.max_uploads));
        Skyfiles { sectors, pins, profile: options.profile, limits, uploads, unpinned: Arc::default() }
    }

    /// The sectors below.
    pub(crate) fn sectors(&self) -> &SectorStore {
        &self.sectors
    }

    /// The pins below.
    pub(crate) fn pins(&self) -> &Pins {
        &self.pins
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

    /// Pins what is here already; `false` if some of it is not. Durable when it returns.
    pub(crate) async fn pin(&self, skylink: &Skylink) -> Result<bool, OpenError> {
        let (sectors, pins, skylink) = (self.sectors.clone(), self.pins.clone(), *skylink);
        let pinning = spawn_blocking(move || {
            let mut held = sectors.hold();
            let Some(skyfile) = open_held(&sectors, skylink, &mut held)? else { return Ok(false) };
            for root in skyfile.roots() {
                held.add(root);
                // Only now: it might be swept between a look and the hold.
                if !sectors.contains(&root)? {
                    return Ok(false);
                }
            }
            // They may be what an upload left that broke off before it synced their names.
            sectors.sync_names(held.roots())?;
            pins.add(&skylink)?;
            Ok(true)
        });
        pinning.await.map_err(std::io::Error::from)?
    }

    /// Removes the pin, durably; `false` if there was none. The sectors go with a sweep.
    pub(crate) async fn unpin(&self, skylink: &Skylink) -> std::io::Result<bool> {
        let (pins, skylink) = (self.pins.clone(), *skylink);
        let removed = spawn_blocking(move || pins.remove(&skylink)).await??;
        if removed {
            self.unpinned.notify_one();
        }
        Ok(removed)
    }

    /// Whether it is pinned.
    pub(crate) async fn is_pinned(&self, skylink: &Skylink) -> std::io::Result<bool> {
        let (pins, skylink) = (self.pins.clone(), *skylink);
        spawn_blocking(move || pins.contains(&skylink)).await?
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
