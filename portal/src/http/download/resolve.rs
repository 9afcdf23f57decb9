//! From the skylink asked for to the skyfile that it stands for now.

use std::time::Duration;

use axum::body::Body;
use http::header::CACHE_CONTROL;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use storage_backends::skynet::skylink::{Skylink, Target};

use super::Address;
use crate::Portal;
use crate::http::error::HttpError;
use crate::http::request::value;
use crate::skyfile::{OpenError, Skyfile};

const SKYLINK: HeaderName = HeaderName::from_static("skynet-skylink");

/// What a v1 skylink names never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// A resolver link may lead elsewhere tomorrow.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// A skyfile and how it was found.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) skyfile: Skyfile,
    /// As the client named it.
    pub(super) asked: Skylink,
}

/// Opens what an address names, within the time that the client gives.
pub(super) async fn open(portal: &Portal, address: &Address, timeout: Duration) -> Result<Opened, HttpError> {
    let asked = address.skylink().map_err(|error| HttpError::bad_request(format!("error parsing skylink: {error}")))?;
    if let Target::Entry(_) = asked.target() {
        return Err(HttpError::not_found("failed to fetch skylink: resolver skylinks are not resolved here"));
    }
    let opened = tokio::time::timeout(timeout, portal.skyfiles.open(&asked)).await.map_err(|_| {
        // skyd's status, which clients know as one to try again after.
        let message = format!("failed to fetch skylink: timed out after {}s", timeout.as_secs());
        HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    })?;
    let opened = opened.map_err(refuse)?;
    let skyfile =
        opened.ok_or_else(|| HttpError::not_found("failed to fetch skylink: the root is not on this portal"))?;
    Ok(Opened { skyfile, asked })
}

/// What cannot be read is as good as absent, but for the message: trying again would not help.
fn refuse(error: OpenError) -> HttpError {
    let message = format!("failed to fetch skylink: {error}");
    match error {
        OpenError::Blocked => HttpError::new(StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS, message),
        OpenError::NotV1 | OpenError::Proof(_) => HttpError::bad_request(message),
        OpenError::Layout(_) | OpenError::OutOfBounds | OpenError::Metadata(_) => HttpError::not_found(message),
        OpenError::Io(error) => HttpError::internal("failed to fetch skylink: it cannot be read", error),
    }
}

impl Opened {
    /// What every answer about the skyfile says.
    pub(super) fn describe(&self, response: &mut Response<Body>) {
        let cacheable = response.status().as_u16() < 400;
        let headers = response.headers_mut();
        headers.insert(SKYLINK, value(&self.skyfile.skylink().to_string()));
        if cacheable && !headers.contains_key(CACHE_CONTROL) {
            let fixed = self.asked == self.skyfile.skylink();
            headers.insert(CACHE_CONTROL, if fixed { IMMUTABLE } else { REVALIDATE });
        }
    }
}
