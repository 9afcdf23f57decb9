//! `/skynet/basesector`, `/skynet/root`, `/skynet/trustless/basesector`: bytes of sectors, which clients check
//! themselves.

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Response};
use skynet_formats::sector::SectorRoot;

use super::error::HttpError;
use super::links::Link;
use super::request::{Answer, Request};
use crate::Portal;
use crate::skyfile::SkyfileStream;

/// `/skynet/basesector/<skylink>`: the named bytes.
pub(super) async fn base_sector(portal: &Portal, request: &Request, skylink: &str) -> Answer {
    const ACTION: &str = "failed to fetch base sector";
    let link = Link::resolve(portal, request, skylink, ACTION).await?;
    let length = available(portal, &link);
    let sector = find(portal, request, &link, length).await?.ok_or_else(|| root_not_found(ACTION))?;
    let mut response = bytes(sector, length, Bytes::new(), link.is_mutable());
    link.describe(response.headers_mut());
    Ok(response)
}

/// `/skynet/trustless/basesector/<skylink>`: the named bytes, then the proof that a sector with that root has them.
/// libskynet checks the proof. It is the roots of the subtrees before the bytes, then of those behind them.
pub(super) async fn trustless(portal: &Portal, request: &Request, skylink: &str) -> Answer {
    const ACTION: &str = "failed to fetch base sector";
    let link = Link::resolve(portal, request, skylink, ACTION).await?;
    let length = available(portal, &link);
    let range = link.offset as usize..(link.offset + length) as usize;
    let sector = find(portal, request, &link, length).await?.ok_or_else(|| root_not_found(ACTION))?;
    let proof = portal.reader.range_proof(&link.root, range).await?.ok_or_else(|| root_not_found(ACTION))?;
    let mut response = bytes(sector, length, Bytes::from(proof), link.is_mutable());
    link.describe(response.headers_mut());
    Ok(response)
}

/// `/skynet/root?root=&offset=&length=`: bytes of any sector.
pub(super) async fn root(portal: &Portal, request: &Request) -> Answer {
    let parameter = |name: &str, article: &str| match request.query.get(name).unwrap_or_default() {
        "" => Err(HttpError::bad_request(format!("no {article} provided"))),
        text => Ok(text.to_owned()),
    };
    let unparsed = |name: &str| HttpError::bad_request(format!("unable to parse '{name}' parameter"));
    let root: SectorRoot = parameter("root", "root hash")?.parse().map_err(|_| unparsed("root"))?;
    let offset: u64 = parameter("offset", "offset")?.parse().map_err(|_| unparsed("offset"))?;
    let length: u64 = parameter("length", "length")?.parse().map_err(|_| unparsed("length"))?;
    let size = portal.options.profile.sector_size().bytes() as u64;
    if offset.checked_add(length).is_none_or(|end| end > size) || length == 0 {
        return Err(HttpError::bad_request("failed to fetch root: the range is not within a sector"));
    }
    let sector = portal.reader.sector(&root, offset, length).await?;
    Ok(bytes(sector.ok_or_else(|| root_not_found("failed to fetch root"))?, length, Bytes::new(), false))
}

/// The bytes named by a skylink, from this portal or, if it is a skyfile, from peers.
async fn find(
    portal: &Portal,
    request: &Request,
    link: &Link,
    length: u64,
) -> Result<Option<SkyfileStream>, HttpError> {
    let here = portal.reader.sector(&link.root, link.offset, length).await?;
    if here.is_some() {
        return Ok(here);
    }
    // While it is open, its base sector stays until that is open too.
    let Some(_skyfile) = portal.open_skyfile(&link.v1, request.is_from_peer()).await? else { return Ok(None) };
    Ok(portal.reader.sector(&link.root, link.offset, length).await?)
}

/// The number of named bytes that exist: a skylink's arithmetic does not know how small the sectors may be.
fn available(portal: &Portal, link: &Link) -> u64 {
    let size = portal.options.profile.sector_size().bytes() as u64;
    link.fetch_size.min(size.saturating_sub(link.offset))
}

pub(super) fn root_not_found(action: &str) -> HttpError {
    HttpError::not_found(format!("{action}: root not found"))
}

fn bytes(sector: SkyfileStream, length: u64, tail: Bytes, mutable: bool) -> Response<Body> {
    let total = length + tail.len() as u64;
    let mut response = Response::new(Body::from_stream(sector.chain(stream::iter([Ok(tail)]))));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(total));
    describe(response.headers_mut(), mutable);
    response
}

/// Adds headers for bytes that any client may have made: no browser shall treat them as a page.
pub(super) fn describe(headers: &mut HeaderMap, mutable: bool) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let caching = if mutable { "no-cache" } else { "public, max-age=31536000, immutable" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
}

#[cfg(test)]
mod tests;
