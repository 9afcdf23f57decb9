//! Authorization of writes: open to all clients, or only with an API key.
//!
//! Without keys every client may add content, which at worst fills the disk. Only programs on the portal's own machine
//! may remove something (unpins, changes of the block list). Web pages may not, even in a browser on that machine,
//! because the portal answers pages of all origins, as SDKs need. Cookies are ignored, since browsers send them with
//! requests of any page.

use http::header::AUTHORIZATION;
use http::{HeaderName, StatusCode};
use serving::client_network;
use skynet_formats::go_encoding::base64;

use super::error::HttpError;
use super::request::Request;
use super::route::Route;
use crate::Portal;
use crate::entries::Client;

const API_KEY: HeaderName = HeaderName::from_static("skynet-api-key");

/// Allows a write, or answers 401. The key is in `Skynet-Api-Key`, or is the password of Basic authentication, as in
/// skyd.
pub(super) fn authorize_write(portal: &Portal, request: &Request) -> Result<(), HttpError> {
    let allowed = portal.options.api_keys.are_open() || key(portal, request).is_some();
    if allowed { Ok(()) } else { Err(HttpError::new(StatusCode::UNAUTHORIZED, "API authentication failed.")) }
}

/// The client in shares of what all clients use: the holder of a key, else the address.
pub(super) fn client(portal: &Portal, request: &Request) -> Client {
    let network = || Client::Network(client_network(request.address()));
    key(portal, request).map_or_else(network, Client::Key)
}

/// The place of the request's key in the list of keys.
fn key(portal: &Portal, request: &Request) -> Option<usize> {
    let keys = &portal.options.api_keys;
    let in_header = || keys.place(request.header(&API_KEY)?);
    in_header().or_else(|| keys.place(&basic_password(request)?))
}

/// Allows a removal by a client that may write, or answers 403. A foreign page may remove nothing, even with a key,
/// because browsers send the password of Basic authentication with requests of any page.
pub(super) fn authorize_removal(portal: &Portal, request: &Request) -> Result<(), HttpError> {
    let options = &portal.options;
    options.pages.check_page(Some(&request.portal_url(options)), &request.headers)?;
    // A portal with a URL is probably behind a proxy, which may be on the same machine.
    if !options.api_keys.are_open() || request.is_local_program && options.url.is_empty() {
        return Ok(());
    }
    let message = "a portal without API keys takes this from programs on its own machine only: set portal.api_keys, \
                   and send one of them";
    Err(HttpError::new(StatusCode::FORBIDDEN, message))
}

/// True if a write to this endpoint removes something that other clients rely on. Removing a resumable upload does not
/// count: its id, a secret of its creator, is enough.
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
