//! The unit roots of content at a portal: the fanout of the base sector, checked against the skylink.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use skynet_formats::base_sector::{self, Body};
use skynet_formats::profile::{Profile, SectorSize};
use skynet_formats::sector::SectorRoot;
use skynet_formats::skylink::Skylink;

use super::canonical::{self, Form};
use super::client::Client;
use crate::{BackendError, Content, UNIT, UnitRoot};

/// The roots; `None` if the skylink does not commit to them, or not to them alone.
pub(super) async fn fetch(
    client: &Client,
    profile: Profile,
    content: &Content,
    skylink: Skylink,
) -> Result<Option<Arc<[UnitRoot]>>, BackendError> {
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
) -> Result<Arc<[UnitRoot]>, BackendError> {
    let corrupt = || BackendError::Corrupt { start: 0, end: content.length() };
    let parts = base_sector::parse(sector, profile.sector_size()).map_err(|_| corrupt())?;
    let Body::Fanout(fanout) = parts.body else { return Err(corrupt()) };
    let roots: Arc<[UnitRoot]> = fanout.iter().map(|root| SectorRoot::from_bytes(*root)).collect();
    let ours = canonical::large(content.digest(), content.length(), profile, &roots).map_err(|_| corrupt())?;
    if ours.skylink() == skylink { Ok(roots) } else { Err(corrupt()) }
}
