//! `/skynet/trustless/file/v1/<skylink>`: part of a file, with a complete proof for a client that has only the skylink.
//!
//! The format is that of skyd 1.6, with little-endian numbers. It begins with the section size (u64), then the leaves
//! with the layout and their proof in the base sector. For a file in the base sector, the leaves with the part and
//! their proof follow. For a file with a fanout, the part follows, cut at multiples of the section size, each section
//! with the proofs of its pieces.

use std::ops::Range;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::Response;
use http::header::CONTENT_LENGTH;
use serving::Query;
use skynet_formats::layout::Layout;
use skynet_formats::profile::SectorSize;

use super::error::HttpError;
use super::links::Link;
use super::raw_reads::{describe, root_not_found};
use super::request::{Answer, Request};
use crate::Portal;
use crate::skyfile::{Skyfile, aligned};

/// The failed action, in skyd's words.
const ACTION: &str = "failed to fetch skylink";

/// `?offset=&length=`: without them the whole file, or the rest after the offset.
pub(super) async fn read(portal: &Portal, request: &Request, skylink: &str) -> Answer {
    let link = Link::resolve(portal, request, skylink, ACTION).await?;
    let opened = portal.open_skyfile(&link.v1, request.is_from_peer()).await?;
    let skyfile = opened.ok_or_else(|| root_not_found(ACTION))?;
    let part = part(&request.query, skyfile.size())?;
    let section = section_size(portal.options.profile.sector_size());
    let offset = link.offset as usize;
    let (layout, layout_length) = proven(portal, &link, offset..offset + Layout::SIZE).await?;
    let head = stream::iter([Ok(Bytes::copy_from_slice(&section.to_le_bytes()))]).chain(layout);
    let mut response = if skyfile.layout().fanout_size == 0 {
        let (content, length) = proven(portal, &link, in_base_sector(&link, &skyfile, &part)).await?;
        let mut response = Response::new(Body::from_stream(head.chain(content)));
        let length = size_of_val(&section) as u64 + layout_length + length;
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        response
    } else {
        let sections = portal.reader.proven_sections(&skyfile, section, part);
        Response::new(Body::from_stream(head.chain(sections)))
    };
    describe(response.headers_mut(), link.is_mutable());
    link.describe(response.headers_mut());
    Ok(response)
}

/// Bytes of a section: clients accept only that of the skyd build with such sectors. It is a divisor of the sector
/// size.
fn section_size(sector: SectorSize) -> u64 {
    match sector.bytes() as u64 {
        // The sizes of skyd's testing and development builds.
        4096 => 512,
        0x4_0000 => 0x4_0000,
        bytes => bytes / 4,
    }
}

/// The requested bytes: at least one, and all within the file.
fn part(query: &Query, size: u64) -> Result<Range<u64>, HttpError> {
    let number = |name: &str| match query.get(name).unwrap_or_default() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| HttpError::bad_request(format!("failed to parse {name}"))),
    };
    let offset: u64 = number("offset")?.unwrap_or(0);
    let length: u64 = number("length")?.unwrap_or(size.saturating_sub(offset));
    match offset.checked_add(length) {
        Some(end) if end <= size && length > 0 => Ok(offset..end),
        _ if length == 0 => Err(HttpError::bad_request("can't request 0 byte")),
        _ => Err(HttpError::bad_request(format!(
            "read at offset {offset} and length {length} is out-of-bounds for file of size {size}"
        ))),
    }
}

/// The range in the base sector of a part of a file without a fanout.
fn in_base_sector(link: &Link, skyfile: &Skyfile, part: &Range<u64>) -> Range<usize> {
    // The file was opened, so all of this is within the sector.
    let content = link.offset as usize + Layout::SIZE + skyfile.layout().metadata_size as usize;
    content + part.start as usize..content + part.end as usize
}

/// The leaves of the base sector with these bytes, then their proof; and the length of both.
async fn proven(
    portal: &Portal,
    link: &Link,
    bytes: Range<usize>,
) -> Result<(impl Stream<Item = std::io::Result<Bytes>> + Send + use<>, u64), HttpError> {
    let leaves = aligned(bytes);
    let length = leaves.len() as u64;
    let content = portal.reader.sector(&link.root, leaves.start as u64, length).await?;
    let content = content.ok_or_else(|| root_not_found(ACTION))?;
    let proof = portal.reader.range_proof(&link.root, leaves).await?.ok_or_else(|| root_not_found(ACTION))?;
    let length = length + proof.len() as u64;
    Ok((content.chain(stream::iter([Ok(Bytes::from(proof))])), length))
}

#[cfg(test)]
mod tests;
