//! Authorization of writes: open to all clients, or only with an API key.
//!
//! Without keys every client may add, which at worst fills the disk. Removals (unpins, changes of the block list) are
//! only for programs on the portal's own machine. A web page is no such program, even if it is open there: the portal
//! answers pages of all origins, because SDKs need it. Cookies are ignored, since browsers send them for any page that
//! asks.

use http::header::AUTHORIZATION;
use http::{HeaderName, StatusCode};
use skynet_formats::go_encoding::base64;

use super::error::HttpError;
use super::request::Request;
use super::route::Route;
use crate::Portal;

const API_KEY: HeaderName = HeaderName::from_static("skynet-api-key");

/// Allows a write, or answers 401. The key is in `Skynet-Api-Key`, or is the password of Basic authentication, as in
/// skyd.
pub(super) fn authorize_write(portal: &Portal, request: &Request) -> Result<(), HttpError> {
    let keys = &portal.options.api_keys;
    let allowed = keys.are_open()
        || request.header(&API_KEY).is_some_and(|key| keys.contain(key))
        || basic_password(request).is_some_and(|key| keys.contain(&key));
    if allowed { Ok(()) } else { Err(HttpError::new(StatusCode::UNAUTHORIZED, "API authentication failed.")) }
}

/// Allows a removal that is already allowed as a write, or answers 403. No foreign page may ask for one, with or without
/// a key: browsers send the password of Basic authentication for every page.
pub(super) fn authorize_removal(portal: &Portal, request: &Request) -> Result<(), HttpError> {
    let options = &portal.options;
    options.pages.check_page(Some(&request.portal_url(options)), &request.headers)?;
    // A portal that has a name of its own is reached over something that may well stand on its machine.
    if !options.api_keys.are_open() || request.is_local_program && options.url.is_empty() {
        return Ok(());
    }
    let message = "a portal without API keys takes this from programs on its own machine only: set portal.api_keys, \
                   and send one of them";
    Err(HttpError::new(StatusCode::FORBIDDEN, message))
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
