//! `/skynet/pin`, `/skynet/unpin`, `/skynet/health/skylink`: pins and their state.

use axum::body::Body;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, json};

use super::error::HttpError;
use super::json::json_answer;
use super::links::Link;
use super::request::{Answer, Request};
use crate::Portal;

/// Pins local content, or content of peers, which is fetched before the answer. The requested path in skyd's file
/// system is only echoed.
pub(super) async fn pin(portal: &Portal, request: &Request, skylink: &str) -> Answer {
    const ACTION: &str = "failed to pin file to skynet";
    let link = Link::resolve(portal, request, skylink, ACTION).await?;
    if !portal.pin(&link.v1, request.is_from_peer()).await? {
        return Err(HttpError::not_found(format!("{ACTION}: root not found")));
    }
    let path = match request.query.get("siapath").unwrap_or_default() {
        "" => link.v1.to_string(),
        path => path.to_owned(),
    };
    let mut response = json_answer(&json!({ "siapath": path }));
    link.describe(response.headers_mut());
    Ok(response)
}

/// Unpins; it also succeeds if there was no pin.
pub(super) async fn unpin(portal: &Portal, request: &Request, skylink: &str) -> Answer {
    const ACTION: &str = "failed to unpin skylink";
    let skyfiles = &portal.stores()?.skyfiles;
    let link = Link::resolve(portal, request, skylink, ACTION).await?;
    skyfiles.unpin(&link.v1).await.map_err(|error| HttpError::internal(ACTION, error))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The local state of a skyfile. On skyd's network of hosts, pieces make the number of copies vary; here there is one
/// copy.
pub(super) async fn health(portal: &Portal, request: &Request, skylink: &str) -> Answer {
    const ACTION: &str = "failed to get skylink health";
    let link = Link::resolve(portal, request, skylink, ACTION).await?;
    let health = portal.reader.health(&link.v1).await?;
    let health = health.ok_or_else(|| HttpError::not_found(format!("{ACTION}: root not found")))?;
    let pinned = match portal.stores() {
        Ok(stores) => stores.skyfiles.is_pinned(&link.v1).await.map_err(|error| HttpError::internal(ACTION, error))?,
        Err(_) => false,
    };
    let mut answer = Map::new();
    answer.insert("basesectorredundancy".to_owned(), json!(1));
    if let Some(worst) = health.fanout.iter().copied().reduce(f64::min) {
        answer.insert("fanouteffectiveredundancy".to_owned(), json!(worst));
        answer.insert("fanoutdatapieces".to_owned(), json!(health.data_pieces));
        answer.insert("fanoutparitypieces".to_owned(), json!(health.parity_pieces));
        answer.insert("fanoutredundancy".to_owned(), json!(health.fanout));
    }
    // Not in skyd: whether the skyfile is pinned here.
    answer.insert("pinned".to_owned(), json!(pinned));
    Ok(json_answer(&answer))
}

#[cfg(test)]
mod tests;
