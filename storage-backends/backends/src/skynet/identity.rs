//! Asks a portal who it is: it must sign a nonce with the key of its data directory.

use reqwest::{Method, StatusCode};
use skynet_formats::identity::{IdentityProof, NONCE_LENGTH, nonce_text};

use super::client::Client;
use super::problem::Problem;
use super::stats::refuse_gateway;
use crate::{BackendError, EndpointId, Identity};

/// The longest answer, in bytes.
const MAX_ANSWER: u64 = 4 * 1024;

/// The proven identity. Portals other than Skyberth's do not know the question, and can prove nothing.
pub(super) async fn ask(client: &Client) -> Result<Identity, BackendError> {
    const ACTION: &str = "ask who it is";
    if client.is_bare() {
        return Ok(Identity::Unprovable);
    }
    let mut nonce = [0; NONCE_LENGTH];
    getrandom::fill(&mut nonce).expect("the system has randomness once it has booted");
    let request = client.request(Method::GET, &format!("/skynet/identity?nonce={}", nonce_text(&nonce)));
    let response = client.send_any(ACTION, request, 0).await?;
    refuse_gateway(client, ACTION, &response)?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
            return Ok(Identity::Unprovable);
        }
        _ => return Err(client.refusal(ACTION, response).await),
    }
    let body = client.short_body(ACTION, response, MAX_ANSWER).await?;
    // A page for any path is no proof, nor an attempt at one.
    let Ok(proof) = serde_json::from_slice::<IdentityProof>(&body) else { return Ok(Identity::Unprovable) };
    match proof.verify(&nonce) {
        Ok(key) => Ok(Identity::Proven(EndpointId::from_bytes(*key.as_bytes()))),
        Err(_) => Err(client.error(ACTION, Problem::NotSigned).misbehaves()),
    }
}
