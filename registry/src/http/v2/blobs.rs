//! `GET`, `HEAD` and `DELETE /v2/<name>/blobs/<digest>` (end-2, end-10).

use axum::body::Body;
use data_encoding::HEXLOWER;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE};
use http::{HeaderValue, Response, StatusCode};
use serving::{ByteRange, Ranges, parse_range};

use crate::http::App;
use crate::http::body::FileBody;
use crate::http::conditional::{not_modified, range_applies};
use crate::http::error::HttpError;
use crate::http::headers::{DOCKER_CONTENT_DIGEST, digest_value, etag, value};
use crate::http::request::{Answer, Request, in_repository};
use crate::oci::{Digest, RepositoryName};
use crate::placement::ColdBlob;
use crate::service::{Blob, Error, Found};

/// Content never changes under its digest.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("max-age=31536000, immutable");

/// DELETE.
pub(in crate::http) async fn delete(app: &App, repository: &RepositoryName, digest: &Digest) -> Answer {
    app.registry.delete_blob(repository, digest).await.map_err(in_repository(repository))?;
    Ok(super::empty(StatusCode::ACCEPTED))
}

/// HEAD. `Range` is ignored: the headers describe the whole blob.
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

/// GET: the whole blob, or the ranges asked for.
pub(in crate::http) async fn get(app: &App, request: &Request, repository: &RepositoryName, digest: &Digest) -> Answer {
    let found = app.registry.open_blob(repository, digest).await.map_err(in_repository(repository))?;
    if not_modified(&request.headers, digest)? {
        return Ok(describe(super::empty(StatusCode::NOT_MODIFIED), digest));
    }
    let size = match &found {
        Found::Here(blob) => blob.size(),
        Found::Elsewhere(cold) => cold.size(),
    };
    let ranges = match request.header(&RANGE) {
        Some(header) if range_applies(&request.headers, digest) => parse_range(header, size),
        _ => Ranges::Whole,
    };
    let blob = match (found, &ranges) {
        (_, Ranges::Unsatisfiable) => return Err(HttpError::range_not_satisfiable(size)),
        (Found::Here(blob), _) => blob,
        (Found::Elsewhere(cold), _) => {
            let response = elsewhere(&cold, &ranges).await.map_err(in_repository(repository))?;
            return Ok(describe(response, digest));
        }
    };
    let response = match ranges {
        Ranges::Parts(parts) => match parts.as_slice() {
            [range] => single(blob, *range),
            _ => multipart(blob, &parts),
        },
        Ranges::Whole | Ranges::Unsatisfiable => whole(blob),
    };
    Ok(describe(response, digest))
}

/// A blob that is not here: its bytes follow as they come and are verified. Of several ranges the whole is sent, which
/// RFC 9110 14.2 allows: they are rare, and the blob will be here after it.
async fn elsewhere(cold: &ColdBlob, ranges: &Ranges) -> Result<Response<Body>, Error> {
    let range = match ranges {
        Ranges::Parts(parts) => parts.first().filter(|_| parts.len() == 1).copied(),
        Ranges::Whole | Ranges::Unsatisfiable => None,
    };
    let bytes = range.map_or(0..cold.size(), |range| range.first..range.last + 1);
    let length = bytes.end - bytes.start;
    let body = Body::from_stream(cold.read(bytes).await?.into_stream());
    let Some(range) = range else { return Ok(with_length(StatusCode::OK, body, length)) };
    let mut response = with_length(StatusCode::PARTIAL_CONTENT, body, length);
    response.headers_mut().insert(CONTENT_RANGE, value(&content_range(range, cold.size())));
    Ok(response)
}

fn describe(mut response: Response<Body>, digest: &Digest) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(DOCKER_CONTENT_DIGEST, digest_value(digest));
    headers.insert(ETAG, etag(digest));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, IMMUTABLE);
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
    response
}

fn with_length(status: StatusCode, body: Body, length: u64) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn whole(blob: Blob) -> Response<Body> {
    let size = blob.size();
    let body = match blob {
        Blob::Bytes(bytes) => Body::from(bytes),
        Blob::File(file, size) => Body::new(FileBody::whole(file, size)),
    };
    with_length(StatusCode::OK, body, size)
}

fn single(blob: Blob, range: ByteRange) -> Response<Body> {
    let size = blob.size();
    let body = match blob {
        Blob::Bytes(bytes) => Body::from(cut(&bytes, range)),
        Blob::File(file, _) => Body::new(FileBody::range(file, range)),
    };
    let mut response = with_length(StatusCode::PARTIAL_CONTENT, body, range.length());
    response.headers_mut().insert(CONTENT_RANGE, value(&content_range(range, size)));
    response
}

/// `multipart/byteranges` (RFC 9110 14.6).
fn multipart(blob: Blob, parts: &[ByteRange]) -> Response<Body> {
    let boundary = HEXLOWER.encode(&crate::ids::random::<12>());
    let size = blob.size();
    let head = |range: &ByteRange| {
        let range = content_range(*range, size);
        format!("\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: {range}\r\n\r\n")
    };
    let tail = format!("\r\n--{boundary}--\r\n");
    let (body, length) = match blob {
        Blob::Bytes(bytes) => {
            let mut all = Vec::new();
            for range in parts {
                all.extend_from_slice(head(range).as_bytes());
                all.extend_from_slice(&cut(&bytes, *range));
            }
            all.extend_from_slice(tail.as_bytes());
            let length = all.len() as u64;
            (Body::from(all), length)
        }
        Blob::File(file, _) => {
            let parts = parts.iter().map(|range| (head(range), *range)).collect();
            let body = FileBody::multipart(file, parts, tail);
            let length = body.length();
            (Body::new(body), length)
        }
    };
    let mut response = with_length(StatusCode::PARTIAL_CONTENT, body, length);
    response.headers_mut().insert(CONTENT_TYPE, value(&format!("multipart/byteranges; boundary={boundary}")));
    response
}

fn content_range(range: ByteRange, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.first, range.last)
}

/// Blobs held as bytes are small, so offsets fit.
fn cut(bytes: &[u8], range: ByteRange) -> Vec<u8> {
    let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    bytes.get(index(range.first)..=index(range.last)).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests;
