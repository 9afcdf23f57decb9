//! Who may write: everybody, or whoever has one of the API keys.
//!
//! Cookies are never looked at, since browsers send them along whoever asks them to.

use data_encoding::BASE64;
use http::HeaderName;
use http::StatusCode;
use http::header::AUTHORIZATION;

use super::error::HttpError;
use super::request::Request;
use crate::Portal;

const API_KEY: HeaderName = HeaderName::from_static("skynet-api-key");

/// Lets a write pass, or answers 401. The key stands in `Skynet-Api-Key`, or is the password of Basic authentication, as
/// for skyd.
pub(super) fn authorize_write(portal: &Portal, request: &Request) -> Result<(), HttpError> {
    let keys = &portal.options.api_keys;
    let allowed = keys.are_open()
        || request.header(&API_KEY).is_some_and(|key| keys.contain(key))
        || basic_password(request).is_some_and(|key| keys.contain(&key));
    if allowed { Ok(()) } else { Err(HttpError::new(StatusCode::UNAUTHORIZED, "API authentication failed.")) }
}

fn basic_password(request: &Request) -> Option<String> {
    let (scheme, credentials) = request.header(&AUTHORIZATION)?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(credentials.trim().as_bytes()).ok()?).ok()?;
    let (_, password) = decoded.split_once(':')?;
    Some(password.to_owned())
}

#[cfg(test)]
mod tests;
