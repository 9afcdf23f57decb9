//! `/skynet/identity?nonce=<64 hex digits>`: proves who this portal is, whatever its address.

use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use skynet_formats::identity::parse_nonce;

use super::error::HttpError;
use super::json::json_answer;
use super::request::{Answer, Request};
use crate::Portal;

/// The public key and the signed nonce. A gateway has no content of its own, and so proves nothing.
pub(super) fn prove(portal: &Portal, request: &Request) -> Answer {
    let none = |_| HttpError::new(StatusCode::NOT_FOUND, "a gateway has no identity");
    let stores = portal.stores().map_err(none)?;
    let nonce = request.query.get("nonce").unwrap_or_default();
    let nonce = parse_nonce(nonce).ok_or_else(|| HttpError::bad_request("a nonce has 64 hex digits"))?;
    let mut response = json_answer(&stores.identity.prove(&nonce));
    // A kept answer would prove nothing of today.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use skynet_formats::identity::{IdentityProof, nonce_text};

    use crate::http::tests::{TestPortal, get, json};

    #[tokio::test]
    async fn it_signs_each_nonce_with_the_key_of_its_directory() {
        let (one, other) = (TestPortal::new(), TestPortal::new());
        let ask = async |portal: &TestPortal, nonce: &[u8; 32]| -> IdentityProof {
            let path = format!("/skynet/identity?nonce={}", nonce_text(nonce));
            serde_json::from_value(json(portal.send(get(&path)).await).await).unwrap()
        };
        let first = ask(&one, &[1; 32]).await.verify(&[1; 32]).unwrap();
        assert_eq!(ask(&one, &[2; 32]).await.verify(&[2; 32]), Ok(first));
        assert_ne!(ask(&other, &[1; 32]).await.verify(&[1; 32]).unwrap(), first);
        for bad in ["", "?nonce=", "?nonce=00", "?nonce=zz"] {
            assert_eq!(one.send(get(&format!("/skynet/identity{bad}"))).await.status(), 400, "{bad}");
        }
    }
}
