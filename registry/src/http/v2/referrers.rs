//! `GET /v2/<name>/referrers/<digest>` (end-12a, 12b).

use http::HeaderValue;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::http::App;
use crate::http::headers::OCI_FILTERS_APPLIED;
use crate::http::request::{Answer, Request, in_repository};
use crate::oci::{Digest, RepositoryName};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A page of referrers as an image index. Never 404: an unknown subject or repository has an empty list.
pub(in crate::http) async fn list(
    app: &App,
    request: &Request,
    repository: &RepositoryName,
    subject: &Digest,
) -> Answer {
    let limit = request.page_limit(app.registry.limits().page_size)?;
    let artifact_type = request.query.get("artifactType").filter(|wanted| !wanted.is_empty());
    let last = request.query.get("last").and_then(|last| last.parse().ok());
    let page = app
        .registry
        .referrers(repository, subject, artifact_type, last, limit)
        .await
        .map_err(in_repository(repository))?;
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": page.descriptors });
    let mut response = super::json(INDEX, &index);
    if artifact_type.is_some() {
        response.headers_mut().insert(OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if let (true, Some(last)) = (page.more, page.descriptors.last()) {
        let filter = artifact_type
            .map(|wanted| format!("&artifactType={}", utf8_percent_encode(wanted, NON_ALPHANUMERIC)))
            .unwrap_or_default();
        let last = &last.digest;
        super::link_next(&mut response, &format!("/v2/{repository}/referrers/{subject}?last={last}&n={limit}{filter}"));
    }
    Ok(response)
}
