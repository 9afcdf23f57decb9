//! The distribution spec's endpoints, one file per section.

pub(super) mod blobs;
pub(super) mod discovery;
pub(super) mod manifests;
pub(super) mod referrers;
pub(super) mod uploads;

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LINK};
use http::{HeaderValue, Response, StatusCode};

use super::headers::value;

/// An answer without a body.
fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
    response
}

/// 200 with JSON.
fn json(content_type: &'static str, body: &serde_json::Value) -> Response<Body> {
    let body = body.to_string();
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = Body::from(body);
    response
}

/// Sets `Link` to the next page (RFC 5988), as a relative URL.
fn link_next(response: &mut Response<Body>, target: &str) {
    response.headers_mut().insert(LINK, value(&format!("<{target}>; rel=\"next\"")));
}
