//! JSON answers whose content may change.

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use serde::Serialize;

/// JSON as Go's encoder writes it, with a line break at the end.
pub(super) fn json_answer(value: &impl Serialize) -> Response<Body> {
    let mut text = serde_json::to_string(value).expect("what is answered has text keys only");
    text.push('\n');
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
