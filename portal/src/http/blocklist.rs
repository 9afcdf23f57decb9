//! `/skynet/blocklist`: the blocked skylinks.

use axum::body::Body;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use serving::RequestBody;
use skynet_formats::skylink::Target;
use tokio::task::spawn_blocking;

use super::body::read_whole;
use super::error::HttpError;
use super::json::json_answer;
use super::links;
use super::request::Answer;
use super::resolve::refuse;
use crate::Portal;
use crate::blocklist::{BlockedHash, BlocklistError};
use crate::registry::resolve_link;

/// Most bytes of a change: about 16,000 hashes.
const BODY_LIMIT: usize = 1 << 20;
const ACTION: &str = "unable to update the skynet blocklist";

/// Skylinks, or hashes of roots, to add and to remove.
#[derive(Debug, Deserialize)]
struct Change {
    #[serde(default)]
    add: Option<Vec<String>>,
    #[serde(default)]
    remove: Option<Vec<String>>,
    #[serde(default, rename = "ishash")]
    is_hash: bool,
}

/// Answers the hashes; `blacklist` is skyd's former name for them.
pub(super) fn get(portal: &Portal) -> Response<Body> {
    let hashes: Vec<String> = portal.reader.blocklist().hashes().iter().map(|hash| hash.to_hex()).collect();
    json_answer(&json!({ "blacklist": null, "blocklist": hashes }))
}

/// Answers 204 once the change is durable.
pub(super) async fn post(portal: &Portal, body: &mut RequestBody) -> Answer {
    portal.stores()?;
    let body = read_whole(body, BODY_LIMIT).await?;
    let change: Change = serde_json::from_slice(&body)
        .map_err(|error| HttpError::bad_request(format!("invalid parameters: {error}")))?;
    let (add, remove) = (change.add.unwrap_or_default(), change.remove.unwrap_or_default());
    if add.is_empty() && remove.is_empty() {
        return Err(HttpError::bad_request("no skylinks submitted"));
    }
    let add = hashes(portal, &add, change.is_hash, "additions").await?;
    let remove = hashes(portal, &remove, change.is_hash, "removals").await?;
    let blocklist = portal.reader.blocklist().clone();
    let changing = spawn_blocking(move || blocklist.change(&add, &remove));
    changing.await.map_err(|error| HttpError::internal(ACTION, error))?.map_err(|error| match error {
        BlocklistError::TooLong => HttpError::new(StatusCode::INSUFFICIENT_STORAGE, format!("{ACTION}: {error}")),
        BlocklistError::Io(_) => HttpError::internal(ACTION, error),
    })?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

async fn hashes(portal: &Portal, texts: &[String], are_hashes: bool, of: &str) -> Result<Vec<BlockedHash>, HttpError> {
    let mut hashes = Vec::with_capacity(texts.len());
    for text in texts {
        hashes.push(if are_hashes {
            let wrong =
                || HttpError::bad_request(format!("{ACTION}: unable to parse blocklist {of}: error parsing hash"));
            BlockedHash::parse(text).ok_or_else(wrong)?
        } else {
            let skylink = links::parse(text.strip_prefix("sia://").unwrap_or(text))?;
            let resolved = resolve_link(portal, &skylink, None).await.map_err(|error| refuse(ACTION, error))?;
            match resolved.skylink.target() {
                Target::Sector { root, .. } => BlockedHash::of(&root),
                Target::Entry(_) => return Err(HttpError::bad_request(format!("{ACTION}: not a v1 skylink"))),
            }
        });
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests;
