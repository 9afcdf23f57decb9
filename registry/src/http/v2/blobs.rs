//! `GET`, `HEAD` and `DELETE /v2/<name>/blobs/<digest>` (end-2, end-10).

use std::ops::Range;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE};
use http::{HeaderValue, Response, StatusCode};
use serving::{ByteRange, Multipart, Ranges, parse_range};

use crate::http::App;
use crate::http::body::FileBody;
use crate::http::conditional::{not_modified, precondition, range_applies};
use crate::http::error::HttpError;
use crate::http::headers::{DOCKER_CONTENT_DIGEST, digest_value, etag, value};
use crate::http::request::{Answer, Request, in_repository};
use crate::oci::{Digest, RepositoryName};
use crate::service::{Blob, Error, Found};

/// Clients may cache content forever, since it never changes under its digest.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("max-age=31536000, immutable");

const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Handles DELETE.
pub(in crate::http) async fn delete(
    app: &App,
    request: &Request,
    repository: &RepositoryName,
    digest: &Digest,
) -> Answer {
    let deleted = app.registry.delete_blob(&request.caller, repository, digest, precondition(&request.headers));
    deleted.await.map_err(in_repository(repository))?;
    Ok(super::empty(StatusCode::ACCEPTED))
}

/// Handles HEAD. `Range` is ignored: the headers describe the whole blob.
pub(in crate::http) async fn head(
    app: &App,
    request: &Request,
    repository: &RepositoryName,
    digest: &Digest,
) -> Answer {
    let size = app.registry.stat_blob(repository, digest).await.map_err(in_repository(repository))?;
    if not_modified(&request.headers, digest)? {
        return Ok(describe(super::empty(StatusCode::NOT_MODIFIED), digest));
    }
    let mut response = describe(super::empty(StatusCode::OK), digest);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(size));
    Ok(response)
}

/// Handles GET: the whole blob, or the requested ranges.
pub(in crate::http) async fn get(app: &App, request: &Request, repository: &RepositoryName, digest: &Digest) -> Answer {
    let condition = not_modified(&request.headers, digest);
    if !matches!(condition, Ok(false)) {
        // 304 and 412 need no bytes, only the knowledge that the blob exists.
        app.registry.stat_blob(repository, digest).await.map_err(in_repository(repository))?;
        return condition.map(|_| describe(super::empty(StatusCode::NOT_MODIFIED), digest));
    }
    let found = app.registry.open_blob(repository, digest).await.map_err(in_repository(repository))?;
    let size = found.size();
    let ranges = match request.header(&RANGE) {
        Some(header) if range_applies(&request.headers, digest) => parse_range(header, size),
        _ => Ranges::Whole,
    };
    let response = match ranges {
        Ranges::Unsatisfiable => return Err(HttpError::range_not_satisfiable(size)),
        Ranges::Whole => range_body(found, 0..size).await.map(|body| with_length(StatusCode::OK, body, size)),
        Ranges::Parts(parts) => match parts.as_slice() {
            [range] => single(found, *range).await,
            _ => multipart(found, parts).await,
        },
    };
    Ok(describe(response.map_err(in_repository(repository))?, digest))
}

fn describe(mut response: Response<Body>, digest: &Digest) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(DOCKER_CONTENT_DIGEST, digest_value(digest));
    headers.insert(ETAG, etag(digest));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, IMMUTABLE);
    headers.entry(CONTENT_TYPE).or_insert(OCTET_STREAM);
    response
}

fn with_length(status: StatusCode, body: Body, length: u64) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

async fn single(found: Found, range: ByteRange) -> Result<Response<Body>, Error> {
    let size = found.size();
    let body = range_body(found, range.offsets()).await?;
    let mut response = with_length(StatusCode::PARTIAL_CONTENT, body, range.length());
    response.headers_mut().insert(CONTENT_RANGE, value(&range.of(size)));
    Ok(response)
}

/// The bytes at these offsets. Those of a cold blob are sent as they arrive and are verified.
async fn range_body(found: Found, bytes: Range<u64>) -> Result<Body, Error> {
    Ok(match found {
        Found::Here(Blob::Bytes(all)) => Body::from(slice(&all, bytes)),
        Found::Here(Blob::File(file, _)) => Body::new(FileBody::range(file, bytes)),
        Found::Cold(cold) => Body::from_stream(cold.read(bytes).await?),
    })
}

/// A `multipart/byteranges` answer (RFC 9110 14.6).
async fn multipart(found: Found, ranges: Vec<ByteRange>) -> Result<Response<Body>, Error> {
    let bytes: Vec<Range<u64>> = ranges.iter().map(|range| range.offsets()).collect();
    let parts = Multipart::new(ranges, found.size(), OCTET_STREAM);
    let (content_type, length) = (parts.content_type(), parts.length());
    let body = match found {
        Found::Here(Blob::Bytes(all)) => {
            let pieces = stream::iter(bytes.into_iter().map(move |bytes| Ok(slice(&all, bytes))));
            Body::from_stream(parts.around(pieces))
        }
        Found::Here(Blob::File(file, _)) => Body::new(FileBody::multipart(file, parts, length)),
        Found::Cold(cold) => Body::from_stream(parts.around(cold.read_several(bytes).await?)),
    };
    let mut response = with_length(StatusCode::PARTIAL_CONTENT, body, length);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}

/// The bytes at these offsets. Blobs in memory are small, so offsets fit a usize.
fn slice(all: &Bytes, bytes: Range<u64>) -> Bytes {
    all.slice(bytes.start as usize..bytes.end as usize)
}

#[cfg(test)]
mod tests;
