//! From the requested skylink to the skyfile that it currently names.

use std::time::Duration;

use axum::body::Body;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};
use skynet_formats::entry::SignedEntry;
use skynet_formats::resolver::Resolved;
use skynet_formats::skylink::Skylink;

use super::Address;
use crate::Portal;
use crate::http::error::HttpError;
use crate::http::request::{Request, SKYNET_SKYLINK, value};
use crate::http::resolve::{self, attach_proof};
use crate::registry::resolve_link;
use crate::skyfile::Skyfile;

/// The failed action, in skyd's words.
const ACTION: &str = "failed to fetch skylink";

/// The content of a v1 skylink never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// A resolver link may lead elsewhere tomorrow.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// A skyfile and how it was found.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) skyfile: Skyfile,
    /// The skylink named by the client.
    pub(super) asked: Skylink,
    /// The entries between the two skylinks.
    passed: Vec<SignedEntry>,
}

/// Opens the skyfile of an address, within the client's timeout.
pub(super) async fn open(
    portal: &Portal,
    request: &Request,
    address: &Address,
    timeout: Duration,
) -> Result<Opened, HttpError> {
    let asked = address.skylink().map_err(|error| HttpError::bad_request(format!("error parsing skylink: {error}")))?;
    tokio::time::timeout(timeout, find(portal, request, asked)).await.unwrap_or_else(|_| {
        // skyd's status, after which clients retry.
        let message = format!("{ACTION}: timed out after {}s", timeout.as_secs());
        Err(HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, message))
    })
}

async fn find(portal: &Portal, request: &Request, asked: Skylink) -> Result<Opened, HttpError> {
    let Resolved { skylink, passed } =
        resolve_link(portal, &asked, Some(request.address())).await.map_err(|error| resolve::refuse(ACTION, error))?;
    let opened = portal.open_skyfile(&skylink, request.is_from_peer()).await?;
    let skyfile = opened.ok_or_else(|| HttpError::not_found(format!("{ACTION}: the root is not on this portal")))?;
    Ok(Opened { skyfile, asked, passed })
}

impl Opened {
    /// Adds the headers that every answer about the skyfile has.
    pub(super) fn describe(&self, response: &mut Response<Body>) {
        let cacheable = response.status().as_u16() < 400;
        let headers = response.headers_mut();
        headers.insert(SKYNET_SKYLINK, value(&self.skyfile.skylink().to_string()));
        attach_proof(&self.passed, headers);
        if cacheable && !headers.contains_key(CACHE_CONTROL) {
            let fixed = self.asked == self.skyfile.skylink();
            headers.insert(CACHE_CONTROL, if fixed { IMMUTABLE } else { REVALIDATE });
        }
    }
}
