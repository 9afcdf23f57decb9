//! Sending bytes to a client: conditions, ranges and lengths as in Go's `http.ServeContent` (RFC 9110 sections 13 and
//! 14).

use std::io;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serving::{ByteRange, Multipart, Ranges, parse_range, precondition, range_applies};

use crate::http::error::HttpError;
use crate::http::request::value;
use crate::served::{Piece, Selection, cut};
use crate::skyfile::{Skyfile, SkyfileContent};

/// The content to send.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Pieces of a skyfile, one after the other.
    Selected(SkyfileContent, Arc<[Piece]>),
    /// Bytes in memory.
    Held(Bytes),
}

/// A stream of bytes to a client.
pub(super) type Bytestream = BoxStream<'static, io::Result<Bytes>>;

impl Content {
    pub(super) fn selected(skyfile: &Skyfile, selection: &Selection<'_>) -> Self {
        Content::Selected(skyfile.content().clone(), selection.pieces.as_slice().into())
    }

    pub(super) fn size(&self) -> u64 {
        match self {
            Content::Selected(_, pieces) => pieces.iter().map(|piece| piece.length).sum(),
            Content::Held(bytes) => bytes.len() as u64,
        }
    }

    /// `length` bytes from `first` on. No byte is read before the stream is polled.
    pub(super) fn stream(&self, first: u64, length: u64) -> Bytestream {
        match self {
            Content::Selected(skyfile, pieces) => read(skyfile, cut(pieces, first, length)),
            Content::Held(bytes) => {
                let (first, end) = (first.min(self.size()), first.saturating_add(length).min(self.size()));
                let part = bytes.slice(first as usize..end as usize);
                stream::once(async move { Ok(part) }).boxed()
            }
        }
    }
}

/// Pieces of a skyfile, one after the other.
fn read(skyfile: &SkyfileContent, pieces: Vec<Piece>) -> Bytestream {
    let skyfile = skyfile.clone();
    stream::iter(pieces).flat_map(move |piece| skyfile.stream(piece.first, piece.length)).boxed()
}

/// The identity of content.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) media_type: HeaderValue,
    /// The quoted entity tag.
    pub(super) etag: Option<HeaderValue>,
}

/// The answer to a request with these headers and this range (in the syntax of `Range`). HEAD is treated as GET: the
/// body is dropped later, unread.
pub(super) fn respond(
    content: &Content,
    description: Description,
    range: Option<&str>,
    headers: &HeaderMap,
) -> Response<Body> {
    let Description { media_type, etag } = description;
    let mut response = match precondition(headers, etag.as_ref()) {
        Some(status) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            response
        }
        None => ranged(content, &media_type, range.filter(|_| range_applies(headers, etag.as_ref()))),
    };
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::OK || status == StatusCode::PARTIAL_CONTENT {
        headers.entry(CONTENT_TYPE).or_insert(media_type);
    }
    if let Some(etag) = etag {
        headers.insert(ETAG, etag);
    }
    response
}

fn ranged(content: &Content, media_type: &HeaderValue, range: Option<&str>) -> Response<Body> {
    let size = content.size();
    // As in Go, any range of empty content is all of it.
    let ranges = range.filter(|_| size > 0).map_or(Ranges::Whole, |range| parse_range(range, size));
    match ranges {
        Ranges::Whole => with_length(StatusCode::OK, content.stream(0, size), size),
        Ranges::Unsatisfiable => {
            let error = HttpError::new(StatusCode::RANGE_NOT_SATISFIABLE, "requested range not satisfiable");
            let mut response = error.into_response("");
            response.headers_mut().insert(CONTENT_RANGE, value(&format!("bytes */{size}")));
            response
        }
        Ranges::Parts(parts) => match parts.as_slice() {
            [part] => {
                let body = content.stream(part.first, part.length());
                let mut response = with_length(StatusCode::PARTIAL_CONTENT, body, part.length());
                response.headers_mut().insert(CONTENT_RANGE, value(&part.of(size)));
                response
            }
            _ => multipart(content, media_type, parts),
        },
    }
}

fn with_length(status: StatusCode, body: Bytestream, length: u64) -> Response<Body> {
    let mut response = Response::new(Body::from_stream(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn multipart(content: &Content, media_type: &HeaderValue, ranges: Vec<ByteRange>) -> Response<Body> {
    let parts = Multipart::new(ranges.clone(), content.size(), media_type.clone());
    let (content_type, length) = (parts.content_type(), parts.length());
    let content = content.clone();
    let bytes = stream::iter(ranges).flat_map(move |range| content.stream(range.first, range.length()));
    let mut response = with_length(StatusCode::PARTIAL_CONTENT, parts.around(bytes.boxed()).boxed(), length);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
