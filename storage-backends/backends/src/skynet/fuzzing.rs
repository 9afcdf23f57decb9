//! Targets for fuzzing: the answers of portals.

use content_store::digest::{Algorithm, Digest};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use skynet_formats::profile::Profile;
use skynet_formats::skylink::Skylink;

use super::problem::{Refusal, sanitized};
use super::{stats, tus, unit_roots};
use crate::Content;

/// A status in two bytes, and a body.
pub(crate) fn answers(bytes: &[u8]) {
    let Some((status, body)) = bytes.split_first_chunk() else { return };
    if let Some(skylink) = tus::skylink_in(body) {
        assert_eq!(Skylink::from_uri(&skylink.to_string()), Ok(skylink));
    }
    if let Some(Some(profile)) = stats::profile_in(body) {
        let _ = profile.parse::<Profile>();
    }
    let message = String::from_utf8_lossy(body);
    let shown = sanitized(&message);
    assert!(shown.chars().count() <= 200 && !shown.chars().any(char::is_control));
    if let Ok(status) = StatusCode::from_u16(u16::from_be_bytes(*status)) {
        for is_html in [false, true] {
            let _ = Refusal { status, is_html, message: &message }.meaning();
        }
    }
    // No sector can have the skylink of another one.
    let content = Content::new(Digest::of(Algorithm::Sha256, b"content"), 5 << 20).expect("a known algorithm");
    let other = Skylink::v2([7; 32]);
    assert!(unit_roots::of_sector(body, Profile::DEFAULT, &content, other).is_err());
}

/// Lines of `name: value`.
pub(crate) fn headers(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let _ = tus::skylink(&headers);
    if let Some(id) = headers.get("location").and_then(|location| tus::id_in(location.to_str().ok()?)) {
        let id = id.to_string();
        assert!(!id.is_empty() && !id.contains(['/', '.', '?', '#', '%']));
        assert_eq!(tus::id_in(&id).map(|id| id.to_string()), Some(id));
    }
}
