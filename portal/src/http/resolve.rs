//! `/skynet/resolve/<skylink>`: the target of a skylink, with the proof.

use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use skynet_formats::entry::SignedEntry;
use skynet_formats::proof::proof_header;
use skynet_formats::skylink::{Skylink, SkylinkError};

use super::error::{HttpError, PROOF};
use super::json::json_answer;
use super::request::{Answer, Request, SKYNET_SKYLINK, value};
use super::timeout::timeout;
use crate::Portal;
use crate::registry::{ResolveLinkError, resolve_link};

const MAX_TIMEOUT_SECONDS: u64 = 900;

/// Answers `{"skylink": <v1>}`. A skylink of version 1 resolves to itself. `skylink` is the end of the path, still
/// encoded.
pub(super) async fn resolve(portal: &Portal, request: &Request, skylink: &str) -> Answer {
    let malformed = |error: SkylinkError| HttpError::bad_request(format!("Unable to parse skylink: {error}"));
    let skylink: Skylink = skylink.parse().map_err(malformed)?;
    let timeout = timeout(&request.query, MAX_TIMEOUT_SECONDS)?;
    let Ok(resolved) = tokio::time::timeout(timeout, resolve_link(portal, &skylink, Some(request.address()))).await
    else {
        let message = "Failed to resolve skylink: registry entry not found within given time";
        return Err(HttpError::new(StatusCode::NOT_FOUND, message));
    };
    let resolved = resolved.map_err(|error| refuse("Failed to resolve skylink", error))?;
    let text = resolved.skylink.to_string();
    let mut response = json_answer(&json!({ "skylink": text }));
    response.headers_mut().insert(SKYNET_SKYLINK, value(&text));
    attach_proof(&resolved.passed, response.headers_mut());
    Ok(response)
}

/// The answer for a skylink that cannot be resolved; `action` is the failed action, in skyd's words.
pub(crate) fn refuse(action: &str, error: ResolveLinkError) -> HttpError {
    match error {
        ResolveLinkError::Unknown(_) => HttpError::not_found(format!("{action}: {error}")),
        ResolveLinkError::Deleted(ref passed) => {
            let answer = HttpError::not_found(format!("{action}: {error}"));
            match proof_value(passed) {
                Some(proof) => answer.with_proof(proof),
                None => answer,
            }
        }
        ResolveLinkError::Resolve(_) => HttpError::bad_request(format!("{action}: {error}")),
        ResolveLinkError::Store(error) => HttpError::from_entry_store(action, error),
    }
}

/// Adds the entries between v2 and v1 to an answer; does nothing if there are none.
pub(crate) fn attach_proof(passed: &[SignedEntry], headers: &mut HeaderMap) {
    if let Some(proof) = proof_value(passed) {
        headers.insert(PROOF, proof);
    }
}

fn proof_value(passed: &[SignedEntry]) -> Option<HeaderValue> {
    proof_header(passed).and_then(|proof| HeaderValue::try_from(proof).ok())
}
