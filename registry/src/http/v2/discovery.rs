//! Discovery: the base (end-1), extensions, repositories and tags (end-8a, 8b).

use std::sync::Arc;

use axum::body::Body;
use http::Response;
use serde_json::json;

use crate::access::{Need, Right, Verdict};
use crate::http::App;
use crate::http::error::HttpError;
use crate::http::request::{Answer, Request, in_repository};
use crate::oci::RepositoryName;
use crate::service::MayPull;

/// `GET /v2/`: 200, since the caller was admitted.
pub(in crate::http) fn base() -> Response<Body> {
    super::json("application/json", &json!({}))
}

/// `GET /v2/_oci/ext/discover` (extensions/_oci.md): lists `_catalog` and this extension.
pub(in crate::http) fn extensions() -> Response<Body> {
    let extensions = json!({
        "extensions": [
            {
                "name": "_oci",
                "description": "extension discovery",
                "url": "https://github.com/opencontainers/distribution-spec/blob/main/extensions/_oci.md",
                "endpoints": ["_oci/ext/discover"],
            },
            {
                "name": "_catalog",
                "description": "list of repositories, with n and last",
                "url": "https://distribution.github.io/distribution/spec/api/#listing-repositories",
                "endpoints": ["_catalog"],
            },
        ]
    });
    super::json("application/json", &extensions)
}

/// `GET /v2/_catalog`: a page of the repositories with a manifest, in byte order.
pub(in crate::http) async fn repositories(app: &App, request: &Request) -> Answer {
    let limit = request.page_limit(app.registry.limits().page_size)?;
    let last = request.query.get("last").map(str::to_owned);
    let page = app.registry.repositories(last, limit, visible(app, request)).await;
    let page = page.map_err(|error| HttpError::from_service(error, None))?;
    let mut response = super::json("application/json", &json!({ "repositories": page.names }));
    if let (true, Some(last)) = (page.more, page.names.last()) {
        super::link_next(&mut response, &format!("/v2/_catalog?last={last}&n={limit}"));
    }
    Ok(response)
}

/// The repositories that the caller may see.
pub(in crate::http) fn visible(app: &App, request: &Request) -> MayPull {
    let (access, caller) = (Arc::clone(&app.access), request.principal.without_scopes());
    MayPull::only(move |repository| {
        access.decide(&caller, &Need::Repository { repository, right: Right::Pull, tag: None }) == Verdict::Allowed
    })
}

/// `GET /v2/<name>/tags/list`: a page of tags, in byte order.
pub(in crate::http) async fn tags(app: &App, request: &Request, repository: &RepositoryName) -> Answer {
    let limit = request.page_limit(app.registry.limits().page_size)?;
    let last = request.query.get("last").map(str::to_owned);
    let page = app.registry.tags(repository, last, limit).await.map_err(in_repository(repository))?;
    let mut response = super::json("application/json", &json!({ "name": repository, "tags": page.tags }));
    // n=0 requests no tags, so there is no next page (spec, end-8b).
    if let (true, Some(last)) = (page.more, page.tags.last()) {
        super::link_next(&mut response, &format!("/v2/{repository}/tags/list?last={last}&n={limit}"));
    }
    Ok(response)
}
