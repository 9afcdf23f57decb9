//! Skyfiles: what a skylink names, written to and read from the sector store.

mod chunks;
mod content;
mod error;
mod health;
mod proofs;
mod proven;
mod reader;
mod restore;
mod stream;
mod writer;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use storage_backends::skynet::profile::Profile;
use storage_backends::skynet::range_proof;
use storage_backends::skynet::sector::SectorRoot;
use storage_backends::skynet::skylink::{Skylink, Target};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

pub(crate) use error::{OpenError, RestoreError, WriteError};
pub(crate) use health::Health;
pub(crate) use proven::aligned;
pub(crate) use reader::Skyfile;
pub(crate) use restore::{GivenBase, HEADER_SIZE as RESTORE_HEADER_SIZE};
pub(crate) use stream::SkyfileStream;
pub(crate) use writer::SkyfileWriter;

use crate::PortalOptions;
use crate::blocklist::Blocklist;
use crate::pins::Pins;
use crate::sectors::{Held, SectorStore};
use content::{Destination, Storing};
use proofs::Proofs;
use reader::Source;
use writer::Limits;

/// All skyfiles of a portal. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Skyfiles {
    sectors: SectorStore,
    pins: Pins,
    blocklist: Blocklist,
    profile: Profile,
    limits: Limits,
    uploads: Arc<Semaphore>,
    proofs: Arc<Proofs>,
    /// Something became unreachable.
    pub(crate) unpinned: Arc<Notify>,
}

/// A place for one upload, of which there are so many as the portal takes at once.
#[derive(Debug)]
pub(crate) struct Admission {
    _permit: OwnedSemaphorePermit,
}

/// Opens a skyfile whose base sector is held before anybody looks whether it stands.
fn open_held(sectors: &SectorStore, skylink: Skylink, held: &mut Held) -> Result<Option<Skyfile>, OpenError> {
    let Target::Sector { root, .. } = skylink.target() else { return Err(OpenError::NotV1) };
    held.add(root);
    Skyfile::open(sectors, skylink)
}

impl Skyfiles {
    /// Over these sectors and pins.
    pub(crate) fn new(sectors: SectorStore, pins: Pins, blocklist: Blocklist, options: &PortalOptions) -> Self {
        let limits = Limits { content: options.max_upload, metadata: options.max_metadata };
        let uploads = Arc::new(Semaphore::new(options.max_uploads));
        Skyfiles {
            sectors,
            pins,
            blocklist,
            profile: options.profile,
            limits,
            uploads,
            proofs: Arc::default(),
            unpinned: Arc::default(),
        }
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
        self.refuse_blocked(skylink)?;
        let (sectors, skylink) = (self.sectors.clone(), *skylink);
        spawn_blocking(move || Skyfile::open(&sectors, skylink)).await.map_err(std::io::Error::from)?
    }

    /// Keeps what an open skyfile is read from; `false` if some of it is missing.
    pub(crate) async fn hold(&self, skyfile: &Skyfile) -> Result<bool, OpenError> {
        let skyfile = skyfile.clone();
        Ok(spawn_blocking(move || skyfile.hold()).await.map_err(std::io::Error::from)??)
    }

    /// Begins an upload, which is cut by the portal's profile.
    pub(crate) fn writer(&self) -> Result<SkyfileWriter, WriteError> {
        self.begin(self.admit()?, self.profile, Storing::Written)
    }

    /// The same for content that stands in files of one sector each, which become sectors in the end. Where sectors are
    /// no plain stretches of the content, it is written like any other.
    pub(crate) fn taker(&self) -> Result<SkyfileWriter, WriteError> {
        let storing = if self.profile.data_pieces() == 1 { Storing::TakenOver } else { Storing::Written };
        self.begin(self.admit()?, self.profile, storing)
    }

    /// The same, which stores nothing: its end is the skylink alone.
    pub(crate) fn dry_writer(&self) -> Result<SkyfileWriter, WriteError> {
        self.begin(self.admit()?, self.profile, Storing::Nothing)
    }

    /// Takes one of the places for uploads.
    pub(crate) fn admit(&self) -> Result<Admission, WriteError> {
        let permit = Arc::clone(&self.uploads).try_acquire_owned();
        permit.map(|permit| Admission { _permit: permit }).map_err(|_| WriteError::TooManyUploads)
    }

    /// Begins the upload of the content of a base sector that the client made, cut as that says. It may be empty. The
    /// place was taken before the base sector was read, which is as much in memory as an upload.
    pub(crate) fn restorer(&self, admission: Admission, base: &GivenBase) -> Result<SkyfileWriter, WriteError> {
        self.begin(admission, base.profile(), Storing::Written)
    }

    /// Pins what is here already; `false` if some of it is not. Durable when it returns.
    pub(crate) async fn pin(&self, skylink: &Skylink) -> Result<bool, OpenError> {
        self.refuse_blocked(skylink)?;
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

    /// Bytes of a sector, which need not belong to a skyfile that is here; `None` if it is not here.
    pub(crate) async fn sector(
        &self,
        root: &SectorRoot,
        offset: u64,
        length: u64,
    ) -> Result<Option<SkyfileStream>, OpenError> {
        if self.blocklist.contains(root) {
            return Err(OpenError::Blocked);
        }
        let (sectors, root) = (self.sectors.clone(), *root);
        let opening = spawn_blocking(move || {
            let sector = sectors.open_sector(&root)?;
            Ok(sector.map(|sector| SkyfileStream::new(Arc::new(Source::of_sector(&sectors, sector)), offset, length)))
        });
        opening.await.map_err(std::io::Error::from)?
    }

    /// The proof that those bytes stand in that sector; whole leaves of 64 bytes. `None` if it is not here.
    pub(crate) async fn range_proof(
        &self,
        root: &SectorRoot,
        bytes: Range<usize>,
    ) -> Result<Option<Vec<u8>>, OpenError> {
        range_proof::proof_size(self.sectors.sector_size(), bytes.clone())?;
        let permit = Arc::clone(&self.proofs.permits).acquire_owned().await.map_err(std::io::Error::other)?;
        let (sectors, proofs, root) = (self.sectors.clone(), Arc::clone(&self.proofs), *root);
        let proving = spawn_blocking(move || {
            let _permit = permit;
            let sector = proofs.open(&sectors, &root)?;
            Ok(sector.map(|sector| sector.prove(&bytes)).transpose()?)
        });
        proving.await.map_err(std::io::Error::from)?
    }

    /// Part of the content of a skyfile that has a fanout, in sections with their proofs.
    pub(crate) fn proven_sections(
        &self,
        skyfile: &Skyfile,
        section: u64,
        range: Range<u64>,
    ) -> impl Stream<Item = std::io::Result<Bytes>> + Send + use<> {
        skyfile.proven_sections(&self.proofs, section, range)
    }

    /// How many sectors were hashed whole to prove something, since the start.
    #[cfg(test)]
    pub(crate) fn hashed_for_proofs(&self) -> u64 {
        self.proofs.hashed()
    }

    /// How much of a skyfile is here; `None` if its base sector is not.
    pub(crate) async fn health(&self, skylink: &Skylink) -> Result<Option<Health>, OpenError> {
        let Some(skyfile) = self.open(skylink).await? else { return Ok(None) };
        let sectors = self.sectors.clone();
        let looking = spawn_blocking(move || Health::of(&skyfile, &sectors));
        Ok(Some(looking.await.map_err(std::io::Error::from)??))
    }

    /// Whether it is pinned.
    pub(crate) async fn is_pinned(&self, skylink: &Skylink) -> std::io::Result<bool> {
        let (pins, skylink) = (self.pins.clone(), *skylink);
        spawn_blocking(move || pins.contains(&skylink)).await?
    }

    /// What is blocked.
    pub(crate) fn blocklist(&self) -> &Blocklist {
        &self.blocklist
    }

    fn refuse_blocked(&self, skylink: &Skylink) -> Result<(), OpenError> {
        match skylink.target() {
            Target::Sector { root, .. } if self.blocklist.contains(&root) => Err(OpenError::Blocked),
            _ => Ok(()),
        }
    }

    fn begin(&self, admission: Admission, profile: Profile, storing: Storing) -> Result<SkyfileWriter, WriteError> {
        if storing != Storing::Nothing && !self.sectors.has_room()? {
            return Err(WriteError::DiskFull);
        }
        let (sectors, pins, blocklist) = (self.sectors.clone(), self.pins.clone(), self.blocklist.clone());
        let destination = Destination { sectors, pins, blocklist, profile, storing };
        Ok(SkyfileWriter::new(destination, self.limits, admission))
    }
}
