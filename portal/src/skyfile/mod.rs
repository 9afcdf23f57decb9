//! Skyfiles: the content of skylinks, written to and read from the sector store.

mod arrivals;
mod chunks;
mod content;
mod destination;
mod error;
mod health;
mod parsed;
mod proofs;
mod proven;
mod reader;
mod reading;
mod restore;
mod sectors;
mod source;
mod stream;
mod sweep;
mod writer;

#[cfg(test)]
mod tests;

use std::ops::Deref;
use std::sync::Arc;

use serving::{Holder, Permit, Pool};
use skynet_formats::profile::Profile;
use skynet_formats::skylink::{Skylink, Target};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

pub(crate) use error::{OpenError, RestoreError, WriteError};
pub(crate) use health::Health;
pub(crate) use proven::aligned;
pub(crate) use reader::{Skyfile, SkyfileContent};
pub(crate) use reading::SkyfileReader;
pub(crate) use restore::{GivenBase, HEADER_SIZE as RESTORE_HEADER_SIZE};
pub(crate) use sectors::Sectors;
pub(crate) use stream::SkyfileStream;
pub(crate) use writer::SkyfileWriter;

use crate::blocklist::Blocklist;
use crate::pins::Pins;
use crate::sectors::{Held, SectorStore};
use crate::{PortalOptions, Resource};
use destination::{Destination, Storing};
use parsed::ParsedMetadata;
use writer::Limits;

/// All skyfiles of a portal that stores them. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Skyfiles {
    reader: SkyfileReader,
    sectors: SectorStore,
    pins: Pins,
    profile: Profile,
    limits: Limits,
    uploads: Arc<Pool>,
    /// Notified when a pin was removed.
    pub(crate) unpinned: Arc<Notify>,
}

/// A permit for one upload; their number is limited.
#[derive(Debug)]
pub(crate) struct Admission {
    _permit: Permit,
}

/// Opens a skyfile whose base sector is held before the check that it exists.
fn open_held(
    sectors: &SectorStore,
    known: &ParsedMetadata,
    skylink: Skylink,
    held: &mut Held,
) -> Result<Option<Skyfile>, OpenError> {
    let Target::Sector { root, .. } = skylink.target() else { return Err(OpenError::NotV1) };
    held.add(root);
    Skyfile::open(&sectors.clone().into(), known, skylink)
}

impl Deref for Skyfiles {
    type Target = SkyfileReader;

    fn deref(&self) -> &SkyfileReader {
        &self.reader
    }
}

impl Skyfiles {
    /// The skyfiles over these sectors and pins.
    pub(crate) fn new(sectors: SectorStore, pins: Pins, blocklist: Blocklist, options: &PortalOptions) -> Self {
        let limits = Limits { content: options.max_upload, metadata: options.max_metadata };
        let uploads = Pool::new(Resource::Uploads.name(), options.max_uploads, options.permit_patience);
        let reader = SkyfileReader::new(sectors.clone().into(), blocklist);
        Skyfiles { reader, sectors, pins, profile: options.profile, limits, uploads, unpinned: Arc::default() }
    }

    /// The sector store.
    pub(crate) fn sectors(&self) -> &SectorStore {
        &self.sectors
    }

    /// The permits for uploads.
    pub(crate) fn uploads(&self) -> &Arc<Pool> {
        &self.uploads
    }

    /// Begins an upload with the portal's profile. A dry run stores nothing and only computes the skylink.
    pub(crate) fn upload(&self, admission: Admission, dry_run: bool) -> Result<SkyfileWriter, WriteError> {
        self.begin(admission, self.profile, if dry_run { Storing::Nothing } else { Storing::Written })
    }

    /// Begins an upload of the portal's own, if there is a permit now.
    pub(crate) fn writer(&self) -> Result<SkyfileWriter, WriteError> {
        self.upload(self.try_admit(Holder::SHARED)?, false)
    }

    /// Begins an upload of content in files of one sector each, which become sectors at the end. If sectors are not
    /// contiguous parts of the content, it is written like any other.
    pub(crate) fn taker(&self, holder: Holder) -> Result<SkyfileWriter, WriteError> {
        let storing = if self.profile.data_pieces() == 1 { Storing::TakenOver } else { Storing::Written };
        self.begin(self.try_admit(holder)?, self.profile, storing)
    }

    /// Begins a dry run.
    #[cfg(test)]
    pub(crate) fn dry_writer(&self) -> Result<SkyfileWriter, WriteError> {
        self.upload(self.try_admit(Holder::SHARED)?, true)
    }

    /// A permit for an upload, at once or after a wait.
    pub(crate) async fn admit(&self, holder: Holder) -> Result<Admission, WriteError> {
        Ok(Admission { _permit: self.uploads.take(holder).await? })
    }

    /// A permit for an upload, if there is one now.
    fn try_admit(&self, holder: Holder) -> Result<Admission, WriteError> {
        Ok(Admission { _permit: self.uploads.try_take(holder)? })
    }

    /// Begins the upload of the content of a base sector made by the client, with its layout. The content may be empty.
    /// The permit was acquired before the base sector was read, which takes as much memory as an upload.
    pub(crate) fn restorer(&self, admission: Admission, base: &GivenBase) -> Result<SkyfileWriter, WriteError> {
        self.begin(admission, base.profile(), Storing::Written)
    }

    /// Pins local content; `false` if some of it is missing. Durable when it returns.
    pub(crate) async fn pin(&self, skylink: &Skylink) -> Result<bool, OpenError> {
        self.refuse_blocked(skylink)?;
        let (sectors, pins, skylink) = (self.sectors.clone(), self.pins.clone(), *skylink);
        let known = Arc::clone(self.reader.known());
        let pinning = spawn_blocking(move || {
            let mut held = sectors.hold();
            let Some(skyfile) = open_held(&sectors, &known, skylink, &mut held)? else { return Ok(false) };
            for root in skyfile.roots() {
                held.add(root);
                // Checked only now: before the hold, it could be swept after the check.
                if !sectors.contains(&root)? {
                    return Ok(false);
                }
            }
            // They may be left by an upload that broke off before it synced their names.
            sectors.sync_names(held.roots())?;
            pins.add(&skylink)?;
            Ok(true)
        });
        pinning.await.map_err(std::io::Error::from)?
    }

    /// Removes the pin, durably; `false` if there was none. A sweep removes the sectors.
    pub(crate) async fn unpin(&self, skylink: &Skylink) -> std::io::Result<bool> {
        let (pins, skylink) = (self.pins.clone(), *skylink);
        let removed = spawn_blocking(move || pins.remove(&skylink)).await??;
        if removed {
            self.unpinned.notify_one();
        }
        Ok(removed)
    }

    /// True if it is pinned.
    pub(crate) async fn is_pinned(&self, skylink: &Skylink) -> std::io::Result<bool> {
        let (pins, skylink) = (self.pins.clone(), *skylink);
        spawn_blocking(move || pins.contains(&skylink)).await?
    }

    fn begin(&self, admission: Admission, profile: Profile, storing: Storing) -> Result<SkyfileWriter, WriteError> {
        if storing != Storing::Nothing {
            self.sectors.check_room()?;
        }
        let (sectors, pins, blocklist) = (self.sectors.clone(), self.pins.clone(), self.reader.blocklist().clone());
        let destination = Destination { sectors, pins, blocklist, profile, storing };
        Ok(SkyfileWriter::new(destination, self.limits, admission))
    }
}
