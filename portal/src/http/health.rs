//! `/livez`, `/readyz`, `/metrics`: endpoints for operators.

use axum::body::Body;
use content_store::free_space;
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use http::{HeaderValue, Response};

use super::error::HttpError;
use super::request::{Answer, Request};
use crate::Portal;

/// Answers that the process runs. It listens only once its store is open, so it is ready too.
pub(super) fn live() -> Response<Body> {
    text("text/plain; charset=utf-8", "ok\n".to_owned())
}

/// Answers with the metrics, in the format that the scraper asks for.
pub(super) async fn metrics(portal: &Portal, request: &Request) -> Answer {
    if !portal.options.metrics {
        return Err(HttpError::not_found("metrics are disabled"));
    }
    if let (Some(gauge), Ok(stores)) = (&portal.metrics.disk_free_bytes, portal.stores()) {
        let directory = stores.directory.clone();
        if let Ok(Ok(free)) = tokio::task::spawn_blocking(move || free_space(&directory)).await {
            gauge.set(i64::try_from(free).unwrap_or(i64::MAX));
        }
    }
    let accept = request.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let page = portal.metrics.page(accept);
    let mut response = text(page.media_type, page.text);
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

fn text(content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
