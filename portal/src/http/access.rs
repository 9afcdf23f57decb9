//! Who may write: everybody, or whoever has one of the API keys.
//!
//! Without keys everybody may add, which harms nobody but the disk; what takes away (unpins, changes of the block list) is
//! for programs on the portal's own machine. A web page is none, though it may be open there: the portal answers pages of
//! all origins, as SDKs need it. Cookies are never looked at, since browsers send them along whoever asks them to.

use http::header::{AUTHORIZATION, FORWARDED, ORIGIN, VIA};
use http::{HeaderName, StatusCode};
use skynet_formats::go_encoding::base64;

use super::error::HttpError;
use super::request::Request;
use super::route::Route;
use crate::Portal;

const API_KEY: HeaderName = HeaderName::from_static("skynet-api-key");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Lets a write pass, or answers 401. The key stands in `Skynet-Api-Key`, or is the password of Basic authentication, as
/// for skyd.
pub(super) fn authorize_write(portal: &Portal, request: &Request) -> Result<(), HttpError> {
    let keys = &portal.options.api_keys;
    let allowed = keys.are_open()
        || request.header(&API_KEY).is_some_and(|key| keys.contain(key))
        || basic_password(request).is_some_and(|key| keys.contain(&key));
    if allowed { Ok(()) } else { Err(HttpError::new(StatusCode::UNAUTHORIZED, "API authentication failed.")) }
}

/// Lets a removal pass, which has passed as a write, or answers 403.
pub(super) fn authorize_removal(portal: &Portal, request: &Request) -> Result<(), HttpError> {
    if !portal.options.api_keys.are_open() || is_program_here(portal, request) {
        return Ok(());
    }
    let message = "a portal without API keys takes this from programs on its own machine only: set portal.api_keys, \
                   and send one of them";
    Err(HttpError::new(StatusCode::FORBIDDEN, message))
}

/// Whether no web page asks, and nobody beyond a proxy, as far as requests can tell. Browsers name the origin with every
/// POST, to the page's own origin as well: so a page whose name was made to lead here is known by it too.
fn is_program_here(portal: &Portal, request: &Request) -> bool {
    let is_here = !request.is_proxied && request.client.is_some_and(|client| client.is_loopback());
    // A portal that has a name of its own is reached over something that may well stand on its machine.
    let is_public = !portal.options.url.is_empty();
    let marked = [ORIGIN, SEC_FETCH_SITE, FORWARDED, VIA, X_FORWARDED_FOR, X_REAL_IP];
    is_here && !is_public && !marked.iter().any(|name| request.headers.contains_key(name))
}

/// Whether a request to this endpoint that is no read takes something away that others count on. The id of a resumable
/// upload is a secret of who made it, so that its removal needs nothing else.
pub(super) fn takes_away(route: &Route) -> bool {
    matches!(route, Route::Unpin(_) | Route::Blocklist)
}

fn basic_password(request: &Request) -> Option<String> {
    let (scheme, credentials) = request.header(&AUTHORIZATION)?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(base64(credentials.trim().as_bytes())?).ok()?;
    let (_, password) = decoded.split_once(':')?;
    Some(password.to_owned())
}

#[cfg(test)]
mod tests;
