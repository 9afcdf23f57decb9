//! The proof of units to which skylinks commit: at a portal, the fanout of the base sector, checked against the skylink.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use skynet_formats::base_sector::{self, Body};
use skynet_formats::profile::{Profile, SectorSize};
use skynet_formats::sector::{SectorRoot, sector_root};
use skynet_formats::skylink::Skylink;
use skynet_formats::unit_roots::UnitRoots;

use super::canonical::{self, Form};
use super::client::Client;
use crate::{BackendError, Content, UNIT, UnitProof};

/// The Merkle roots of all units, in order. Each is that of a Sia sector with the unit's bytes and zeros after them. If
/// the profile has one data piece, skylinks of large content commit to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectorRoots(Arc<[SectorRoot]>);

impl SectorRoots {
    /// The roots of the units of these bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut roots = UnitRoots::new(SectorSize::STANDARD);
        roots.update(bytes);
        SectorRoots(roots.finish().into())
    }

    /// The roots that come with content, if any do.
    pub fn of_content(content: &Content) -> Option<&Self> {
        content.proof()
    }

    /// The roots.
    pub fn roots(&self) -> &Arc<[SectorRoot]> {
        &self.0
    }
}

impl From<Arc<[SectorRoot]>> for SectorRoots {
    fn from(roots: Arc<[SectorRoot]>) -> Self {
        SectorRoots(roots)
    }
}

impl UnitProof for SectorRoots {
    fn units(&self) -> u64 {
        self.0.len() as u64
    }

    fn accepts(&self, number: u64, unit: &[u8]) -> bool {
        let root = usize::try_from(number).ok().and_then(|number| self.0.get(number));
        unit.len() as u64 <= UNIT && root.is_some_and(|root| sector_root(SectorSize::STANDARD, unit) == *root)
    }
}

/// The roots; `None` if the skylink does not commit to them, or not to them alone.
pub(super) async fn fetch(
    client: &Client,
    profile: Profile,
    content: &Content,
    skylink: Skylink,
) -> Result<Option<SectorRoots>, BackendError> {
    const ACTION: &str = "read a base sector";
    let is_list = profile.data_pieces() == 1 && profile.sector_size() == SectorSize::STANDARD;
    if !is_list || Form::of(content.digest(), content.length(), profile) == Form::Small {
        return Ok(None);
    }
    let request = client.request(Method::GET, &format!("/skynet/basesector/{skylink}"));
    let response = client.send(ACTION, request, 0, StatusCode::OK).await?;
    let sector = client.short_body(ACTION, response, UNIT).await?;
    let content = content.clone();
    // The root of a sector takes some milliseconds to compute, which others should not wait for.
    let checking = tokio::task::spawn_blocking(move || of_sector(&sector, profile, &content, skylink));
    let ended = |error| BackendError::Unavailable { retry_after: None, cause: Box::new(error) };
    checking.await.map_err(ended)?.map(Some)
}

/// The sector is not trusted: with its fanout, the canonical form must have the skylink.
pub(super) fn of_sector(
    sector: &[u8],
    profile: Profile,
    content: &Content,
    skylink: Skylink,
) -> Result<SectorRoots, BackendError> {
    let corrupt = || BackendError::Corrupt { start: 0, end: content.length() };
    let parts = base_sector::parse(sector, profile.sector_size()).map_err(|_| corrupt())?;
    let Body::Fanout(fanout) = parts.body else { return Err(corrupt()) };
    let roots: Arc<[SectorRoot]> = fanout.iter().map(|root| SectorRoot::from_bytes(*root)).collect();
    let ours = canonical::large(content.digest(), content.length(), profile, &roots).map_err(|_| corrupt())?;
    if ours.skylink() == skylink { Ok(SectorRoots(roots)) } else { Err(corrupt()) }
}
