//! Whether a portal of Skyberth has all of a skyfile itself. A HEAD succeeds with a part of it, or with a peer's copy.

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use skynet_formats::skylink::Skylink;

use super::client::Client;
use super::problem::Problem;
use crate::BackendError;

/// The longest answer, in bytes: a terabyte in chunks of one unit.
const MAX_ANSWER: u64 = 2 << 20;

#[derive(Deserialize)]
struct SkylinkHealth {
    /// For each chunk, the part of it that is there.
    #[serde(default)]
    fanoutredundancy: Vec<f64>,
    pinned: bool,
}

/// True if all sectors are there, and stay. Absence of the first one is `NotFound`.
pub(super) async fn is_whole(client: &Client, skylink: &Skylink) -> Result<bool, BackendError> {
    const ACTION: &str = "ask for all of a skylink";
    let request = client.request(Method::GET, &format!("/skynet/health/skylink/{skylink}"));
    let response = client.send(ACTION, request, 0, StatusCode::OK).await?;
    let body = client.short_body(ACTION, response, MAX_ANSWER).await?;
    let Ok(found) = serde_json::from_slice::<SkylinkHealth>(&body) else {
        return Err(client.error(ACTION, Problem::Malformed("health of a skylink")).unavailable(None));
    };
    Ok(found.pinned && found.fanoutredundancy.iter().all(|part| *part >= 1.0))
}
