//! The id of a request, which connects its log lines on both sides of a proxy.

use http::{HeaderMap, HeaderName};

/// The header `X-Request-Id`.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest accepted id in bytes; any UUID or trace id is shorter.
const MAX_LENGTH: usize = 128;

/// The id that came with a request, if it is valid in a log. Keep only a trusted proxy's id: other peers could forge
/// the ids of other clients' requests.
pub fn inbound_request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let in_id = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    ((1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(in_id)).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_an_id_that_can_stand_in_a_log_is_kept() {
        let kept = |id: &[u8]| {
            let value = HeaderValue::from_bytes(id).unwrap();
            inbound_request_id(&HeaderMap::from_iter([(REQUEST_ID, value)])).is_some()
        };
        assert!(kept(b"f3c1-A.b_c:9"));
        for bad in [&b""[..], b"a b", b"a\"b", b"a,b", b"\xff", &[b'a'; 129]] {
            assert!(!kept(bad), "{bad:?}");
        }
    }
}
