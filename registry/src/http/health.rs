//! `/livez`, `/readyz` and `/metrics`, for operators.

use std::sync::atomic::Ordering;

use axum::body::Body;
use content_store::ContentStore;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::App;
use super::error::HttpError;
use super::request::{Answer, Request};
use crate::catalog::{CatalogState, Progress};
use crate::service::Error;

/// 200 while the process runs.
pub(super) fn live() -> Response<Body> {
    text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned())
}

/// The answer before the data directory is open: `/livez` succeeds, all other requests get 503.
pub(super) fn starting(path: &str, progress: &Progress) -> Response<Body> {
    match path {
        "/livez" => return live(),
        "/readyz" => {
            let mut body = json!({ "state": "starting" });
            if progress.at_most() > 0 {
                body["rebuilding"] = rebuilding((progress.facts(), progress.at_most()));
            }
            return text(StatusCode::SERVICE_UNAVAILABLE, "application/json", format!("{body}\n"));
        }
        _ => {}
    }
    HttpError::from_service(Error::Unavailable, None).into_response("starting")
}

/// The progress of an index rebuild.
fn rebuilding((facts, at_most): (u64, u64)) -> serde_json::Value {
    json!({ "facts": facts, "at_most": at_most })
}

/// 200 if the node can answer requests, even when it refuses pushes or all changes. The body names that state.
pub(super) fn ready(app: &App) -> Response<Body> {
    let status = app.registry.catalog().status();
    let (code, state) = match status.state {
        CatalogState::Ready if app.registry.store().is_troubled() => (StatusCode::OK, "degraded"),
        CatalogState::Ready => (StatusCode::OK, "ready"),
        CatalogState::ReadOnly => (StatusCode::OK, "read-only"),
        CatalogState::Rebuilding => (StatusCode::SERVICE_UNAVAILABLE, "rebuilding the index"),
        CatalogState::Closed => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    };
    let mut body = json!({ "state": state, "sequence": status.sequence, "open_uploads": app.registry.open_uploads() });
    if let Some(progress) = status.rebuilding {
        body["rebuilding"] = rebuilding(progress);
    }
    if let Some(durability) = app.registry.durability() {
        let (backlog, elsewhere) = (durability.backlog, app.registry.catalog().elsewhere());
        body["durability"] = json!({
            "summary": durability.to_string(), "backlog": backlog.count, "backlog_bytes": backlog.bytes,
            "elsewhere": elsewhere.content, "elsewhere_unpins": elsewhere.unpins,
        });
    }
    text(code, "application/json", format!("{body}\n"))
}

/// The metrics, in the format that the scraper accepts.
pub(super) async fn metrics(app: &App, request: &Request) -> Answer {
    if !app.options.metrics {
        return Err(HttpError::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "metrics are disabled"));
    }
    let status = app.registry.catalog().status();
    app.metrics.journal_commits.inner().store(status.batches, Ordering::Relaxed);
    app.metrics.index_rebuilds.inner().store(status.rebuilds, Ordering::Relaxed);
    let (backlog, elsewhere) = (app.registry.catalog().backlog(), app.registry.catalog().elsewhere());
    // If the disk does not report its free space, the last figure stays.
    if let Ok(free) = app.registry.blocking(ContentStore::free_space).await {
        app.metrics.disk_free_bytes.set(i64::try_from(free).unwrap_or(i64::MAX));
    }
    let has_room = app.registry.blocking(|store| Ok(store.has_room())).await.unwrap_or(false);
    let accepts = status.state == CatalogState::Ready && !app.registry.store().is_troubled() && has_room;
    let gauges = [
        (&app.metrics.accepts_pushes, accepts.into()),
        (&app.metrics.backlog, backlog.count),
        (&app.metrics.backlog_bytes, backlog.bytes),
        (&app.metrics.elsewhere, elsewhere.content),
        (&app.metrics.elsewhere_unpins, elsewhere.unpins),
    ];
    for (gauge, value) in gauges {
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    }
    let page = app.metrics.page(request.header(&ACCEPT));
    let mut response = text(StatusCode::OK, page.media_type, page.text);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// A short text answer.
pub(super) fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = Body::from(body);
    response
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::{Door, router};

    /// It said "not ready" for minutes, without a sign of progress.
    #[tokio::test]
    async fn a_start_that_rebuilds_the_index_says_how_far_it_is() {
        let door = Door::default();
        let ask = async |path: &str| {
            let request = http::Request::get(path).body(Body::empty()).unwrap();
            let answer = router(door.clone()).oneshot(request).await.unwrap();
            (answer.status().as_u16(), axum::body::to_bytes(answer.into_body(), 1000).await.unwrap())
        };
        assert_eq!(ask("/readyz").await, (503, "{\"state\":\"starting\"}\n".into()));
        door.progress.begin(7);
        door.progress.step();
        let expected = "{\"state\":\"starting\",\"rebuilding\":{\"facts\":1,\"at_most\":7}}\n";
        assert_eq!(ask("/readyz").await, (503, expected.into()));
        assert_eq!(ask("/v2/").await.0, 503);
    }
}
