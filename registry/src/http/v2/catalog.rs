//! `GET /v2/_catalog`: the repositories that hold a manifest.

use serde_json::json;

use crate::http::App;
use crate::http::error::HttpError;
use crate::http::request::{Answer, Request};

/// A page, in byte order.
pub(in crate::http) async fn list(app: &App, request: &Request) -> Answer {
    let limit = request.page_limit(app.registry.limits().page_size)?;
    let last = request.query.get("last").map(str::to_owned);
    let page = app.registry.repositories(last, limit).await.map_err(|error| HttpError::from_service(error, None))?;
    let mut response = super::json("application/json", &json!({ "repositories": page.names }));
    if let (true, Some(last)) = (page.more, page.names.last()) {
        super::link_next(&mut response, &format!("/v2/_catalog?last={last}&n={limit}"));
    }
    Ok(response)
}
