//! Challenges: how a client is told to log in.

use std::fmt::Write as _;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::App;
use super::action::Action;
use super::headers::value;
use super::location::Locations;
use super::request::Request;
use crate::access::{Need, scope_of};

/// Basic authentication. Browsers show the realm.
pub(super) const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"Skyberth\", charset=\"UTF-8\"");

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The challenge to a request for this action, whose token must have the scopes of these needs.
pub(super) fn challenge(
    app: &App,
    request: &Request,
    action: &Action<'_>,
    needs: &[Need<'_>],
    error: Option<&str>,
) -> HeaderValue {
    // Browsers know Basic only.
    let is_page = *action == Action::Home;
    let (Some(service), Some(origin), false) = (app.access.token_service(), origin(app, request), is_page) else {
        return BASIC;
    };
    let mut text = format!("Bearer realm=\"{origin}/token\",service=\"{service}\"");
    let scopes: Vec<String> = needs.iter().filter_map(scope_of).collect();
    if !scopes.is_empty() {
        let _ = write!(text, ",scope=\"{}\"", scopes.join(" "));
    }
    if let Some(error) = error {
        let _ = write!(text, ",error=\"{error}\"");
    }
    value(&text)
}

/// Scheme and host under which the client reaches this node. Only the client itself sees them, so a proxy that is not trusted
/// may say that it speaks https.
fn origin(app: &App, request: &Request) -> Option<String> {
    if let Locations::Fixed(url) = &app.options.locations {
        return Some(url.clone());
    }
    let origin = app.options.trusted_proxies.origin(request.peer, request.scheme, &request.uri, &request.headers)?;
    match origin.strip_prefix("http://") {
        Some(host) if says_https(&request.headers) => Some(format!("https://{host}")),
        _ => Some(origin),
    }
}

fn says_https(headers: &HeaderMap) -> bool {
    let has = |name, text: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.to_ascii_lowercase().contains(text))
    };
    has(FORWARDED_PROTO, "https") || has(FORWARDED, "proto=https")
}
