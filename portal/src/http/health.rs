//! `/livez`, `/readyz`, `/metrics`: for those who run the portal.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};

use super::error::HttpError;
use super::request::Answer;
use crate::Portal;
use crate::metrics::CONTENT_TYPE as CONTENT_TYPE_OF_METRICS;

/// The process runs; it listens only once its store is open, so that it is ready too.
pub(super) fn live() -> Response<Body> {
    text("text/plain; charset=utf-8", "ok\n".to_owned())
}

/// Prometheus text.
pub(super) fn metrics(portal: &Portal) -> Answer {
    if !portal.options.metrics {
        return Err(HttpError::not_found("metrics are disabled"));
    }
    Ok(text(CONTENT_TYPE_OF_METRICS, portal.metrics.encode()))
}

fn text(content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
