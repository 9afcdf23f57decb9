//! Authorization of writes: open to all clients, or only with an API key.
//!
//! Without keys every client may add, which at worst fills the disk. Removals (unpins, changes of the block list) are
//! only for programs on the portal's own machine. A web page is no such program, even if it is open there: the portal
//! answers pages of all origins, because SDKs need it. Cookies are ignored, since browsers send them for any page that
//! asks.

use http::header::{AUTHORIZATION, FORWARDED, ORIGIN, VIA};
use http::{HeaderName, StatusCode};
use skynet_formats::go_encoding::base64;

use super::error::HttpError;
use super::request::Request;
use super::route::Route;
use crate::Portal;

const API_KEY: HeaderName = HeaderName::from_static("skynet-api-key");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Allows a write, or answers 401. The key is in `Skynet-Api-Key`, or is the password of Basic authentication, as in
/// skyd.
pub(super) fn authorize_write(portal: &Portal, request: &Request) -> Result<(), HttpError> {
    let keys = &portal.options.api_keys;
    let allowed = keys.are_open()
        || request.header(&API_KEY).is_some_and(|key| keys.contain(key))
        || basic_password(request).is_some_and(|key| keys.contain(&key));
    if allowed { Ok(()) } else { Err(HttpError::new(StatusCode::UNAUTHORIZED, "API authentication failed.")) }
}

/// Allows a removal that is already allowed as a write, or answers 403.
pub(super) fn authorize_removal(portal: &Portal, request: &Request) -> Result<(), HttpError> {
    if !portal.options.api_keys.are_open() || is_program_here(portal, request) {
        return Ok(());
    }
    let message = "a portal without API keys takes this from programs on its own machine only: set portal.api_keys, \
                   and send one of them";
    Err(HttpError::new(StatusCode::FORBIDDEN, message))
}

/// True for a local program: loopback peer, no browser or proxy headers. Browsers send an origin with every POST, even
/// to the page's own origin, so a page on a name that was made to resolve to this machine is detected too.
fn is_program_here(portal: &Portal, request: &Request) -> bool {
    let is_here = request.client.is_some_and(|client| client.is_loopback());
    // A portal that has a name of its own is reached over something that may well stand on its machine.
    let is_public = !portal.options.url.is_empty();
    // A proxy on the same machine, trusted or not, is known by what it writes, not by its address: programs share that.
    let marks = [ORIGIN, SEC_FETCH_SITE, FORWARDED, VIA, X_REAL_IP];
    let is_mark = |name: &HeaderName| marks.contains(name) || name.as_str().starts_with("x-forwarded-");
    is_here && !is_public && !request.headers.keys().any(is_mark)
}

/// True if a request to this endpoint, other than a read, removes something that other clients rely on. The id of a
/// resumable upload is a secret of its creator, so its removal needs nothing else.
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
