//! `GET /v2/<name>/tags/list` (end-8a, 8b).

use serde_json::json;

use crate::http::App;
use crate::http::request::{Answer, Request, in_repository};
use crate::oci::RepositoryName;

/// A page, in byte order.
pub(in crate::http) async fn list(app: &App, request: &Request, repository: &RepositoryName) -> Answer {
    let limit = request.page_limit(app.registry.limits().page_size)?;
    let last = request.query.get("last").map(str::to_owned);
    let page = app.registry.tags(repository, last, limit).await.map_err(in_repository(repository))?;
    let mut response = super::json("application/json", &json!({ "name": repository, "tags": page.tags }));
    // n=0 asks for nothing, so nothing follows (spec, end-8b).
    if let (true, Some(last)) = (page.more, page.tags.last()) {
        super::link_next(&mut response, &format!("/v2/{repository}/tags/list?last={last}&n={limit}"));
    }
    Ok(response)
}
