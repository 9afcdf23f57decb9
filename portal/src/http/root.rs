//! `/`: SDKs request it to detect a portal, and people get a page.

use axum::body::Body;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Response};

use crate::Portal;

const PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Skyberth portal</title>\
<h1>Skyberth portal</h1><p>A Skynet-compatible portal. Upload with <code>curl -F file=@FILE /skynet/skyfile</code>, \
download from <code>/SKYLINK</code>.";

const GATEWAY_PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Skyberth gateway</title>\
<h1>Skyberth gateway</h1><p>What a registry holds, at its skylinks: download from <code>/SKYLINK</code>. Nothing can be \
uploaded here.";

/// Answers 200; only the headers of every answer matter.
pub(super) fn page(portal: &Portal) -> Response<Body> {
    let mut response = Response::new(Body::from(if portal.is_gateway() { GATEWAY_PAGE } else { PAGE }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    response
}
