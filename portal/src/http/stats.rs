//! `/skynet/stats`: what kind of portal this is.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use serde_json::json;

/// The part of skyd's answer that says something here.
pub(super) fn stats() -> Response<Body> {
    let body = json!({ "versioninfo": { "version": env!("CARGO_PKG_VERSION"), "gitrevision": "" } });
    let mut response = Response::new(Body::from(format!("{body}\n")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}
