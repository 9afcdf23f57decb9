//! Read-only operations on skyfiles: opening, reading, proving.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use skynet_formats::range_proof;
use skynet_formats::sector::SectorRoot;
use skynet_formats::skylink::{Skylink, Target};
use tokio::task::spawn_blocking;

use super::parsed::ParsedMetadata;
use super::proofs::Proofs;
use super::source::Source;
use super::{Health, OpenError, Sectors, Skyfile, SkyfileStream};
use crate::blocklist::Blocklist;

/// Reads skyfiles from any source of sectors. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct SkyfileReader {
    sectors: Sectors,
    blocklist: Blocklist,
    proofs: Arc<Proofs>,
    known: Arc<ParsedMetadata>,
}

impl SkyfileReader {
    /// A reader over these sectors, except for blocked ones.
    pub(crate) fn new(sectors: Sectors, blocklist: Blocklist) -> Self {
        SkyfileReader { sectors, blocklist, proofs: Arc::default(), known: Arc::default() }
    }

    /// Opens the skyfile of a v1 skylink; `None` if it is missing.
    pub(crate) async fn open(&self, skylink: &Skylink) -> Result<Option<Skyfile>, OpenError> {
        self.open_from(self.sectors.clone(), skylink).await
    }

    /// Opens the skyfile of a v1 skylink from these sectors; `None` if it is missing.
    pub(crate) async fn open_from(&self, sectors: Sectors, skylink: &Skylink) -> Result<Option<Skyfile>, OpenError> {
        self.refuse_blocked(skylink)?;
        let (known, skylink) = (Arc::clone(&self.known), *skylink);
        spawn_blocking(move || Skyfile::open(&sectors, &known, skylink)).await.map_err(std::io::Error::from)?
    }

    /// Holds the sectors of an open skyfile, including those still to be fetched; `false` if some are missing.
    pub(crate) async fn hold(&self, skyfile: &Skyfile) -> Result<bool, OpenError> {
        let skyfile = skyfile.clone();
        Ok(spawn_blocking(move || skyfile.hold()).await.map_err(std::io::Error::from)??)
    }

    /// Bytes of a sector, which need not belong to a local skyfile; `None` if the sector is missing.
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

    /// The proof that those bytes are in that sector; whole leaves of 64 bytes. `None` if the sector is missing.
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

    /// Part of the content of a skyfile with a fanout, in sections with their proofs.
    pub(crate) fn proven_sections(
        &self,
        skyfile: &Skyfile,
        section: u64,
        range: Range<u64>,
    ) -> impl Stream<Item = std::io::Result<Bytes>> + Send + use<> {
        skyfile.proven_sections(&self.proofs, section, range)
    }

    /// The number of sectors that were hashed whole for proofs since the start.
    #[cfg(test)]
    pub(crate) fn hashed_for_proofs(&self) -> u64 {
        self.proofs.hashed()
    }

    /// The local part of a skyfile; `None` if its base sector is missing.
    pub(crate) async fn health(&self, skylink: &Skylink) -> Result<Option<Health>, OpenError> {
        let Some(skyfile) = self.open(skylink).await? else { return Ok(None) };
        let looking = spawn_blocking(move || Health::of(&skyfile));
        Ok(Some(looking.await.map_err(std::io::Error::from)??))
    }

    /// The metadata that was parsed last.
    pub(super) fn known(&self) -> &Arc<ParsedMetadata> {
        &self.known
    }

    /// The block list.
    pub(crate) fn blocklist(&self) -> &Blocklist {
        &self.blocklist
    }

    pub(super) fn refuse_blocked(&self, skylink: &Skylink) -> Result<(), OpenError> {
        match skylink.target() {
            Target::Sector { root, .. } if self.blocklist.contains(&root) => Err(OpenError::Blocked),
            _ => Ok(()),
        }
    }
}
