//! The statistics of a portal.

use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use skynet_formats::GATEWAY_HEADER;
use skynet_formats::profile::Profile;

use super::client::Client;
use super::problem::Problem;
use crate::BackendError;

/// The longest answer, in bytes.
const MAX_ANSWER: u64 = 256 * 1024;

/// Skyberth's portals announce their profile. skyd does not; it is discovered at the first upload.
#[derive(Deserialize)]
struct Stats {
    profile: Option<String>,
}

/// Checks that the portal has the expected profile.
pub(super) async fn check_profile(client: &Client, expected: Profile) -> Result<(), BackendError> {
    const ACTION: &str = "ask for its profile";
    let response = client.send(ACTION, client.request(Method::GET, "/skynet/stats"), 0, StatusCode::OK).await?;
    refuse_gateway(client, ACTION, &response)?;
    let body = client.short_body(ACTION, response, MAX_ANSWER).await?;
    let found =
        profile_in(&body).ok_or_else(|| client.error(ACTION, Problem::Malformed("statistics")).unavailable(None))?;
    let Some(found) = found else {
        tracing::info!(portal = %client.name(), "the portal does not say which profile it has");
        return Ok(());
    };
    if found.parse() == Ok(expected) {
        return Ok(());
    }
    let found = super::problem::sanitized(&found);
    let error = client.error(ACTION, Problem::OtherProfile { expected: expected.to_string(), found });
    Err(BackendError::Unsuitable { cause: Box::new(error) })
}

/// The profile in the JSON of the statistics, if it has one.
#[expect(clippy::option_option, reason = "statistics without a profile are no malformed ones")]
pub(super) fn profile_in(body: &[u8]) -> Option<Option<String>> {
    serde_json::from_slice::<Stats>(body).ok().map(|stats| stats.profile)
}

/// Refuses a gateway, which is no reliable copy: content found there may be this node's own.
pub(super) fn refuse_gateway(client: &Client, action: &'static str, answer: &Response) -> Result<(), BackendError> {
    if !answer.headers().contains_key(GATEWAY_HEADER) {
        return Ok(());
    }
    Err(BackendError::Unsuitable { cause: Box::new(client.error(action, Problem::Gateway)) })
}
