//! `/skynet/stats`, `/skynet/portals`: the description of this portal.

use axum::body::Body;
use http::Response;
use serde_json::json;

use super::json::json_answer;
use super::request::Request;
use crate::Portal;

/// The part of skyd's answer that is meaningful here, and the profile. With the profile, clients know the skylinks of
/// uploads before they send them.
pub(super) fn stats(portal: &Portal) -> Response<Body> {
    let gateway = portal.is_gateway();
    json_answer(&json!({
        "profile": portal.options.profile.to_string(),
        "maxupload": if gateway { 0 } else { portal.options.max_upload },
        "gateway": gateway,
        "portalmode": true,
        "uptime": portal.opened.elapsed().as_secs(),
        "versioninfo": { "version": env!("CARGO_PKG_VERSION"), "gitrevision": "" },
    }))
}

/// The list of known portals: only this one.
pub(super) fn portals(portal: &Portal, request: &Request) -> Response<Body> {
    let url = request.portal_url(&portal.options);
    let (scheme, host) = url.split_once("://").unwrap_or(("", &url));
    let port = if scheme == "https" { 443 } else { 80 };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { host.to_owned() } else { format!("{host}:{port}") };
    json_answer(&json!({ "portals": [{ "address": address, "public": portal.options.api_keys.are_open() }] }))
}
