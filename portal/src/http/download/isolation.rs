//! Keeps documents of different skylinks apart in a browser. All share the portal's origin, and any client may upload
//! one.
//!
//! On the portal's own origin, a document with scripts is sandboxed. A browser that navigates to one is redirected to
//! the skylink's own host, where the document runs with an origin of its own.

use http::header::{CONTENT_SECURITY_POLICY, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue};
use skynet_formats::skylink::Skylink;

use super::address::below;
use crate::PortalOptions;
use crate::http::request::Request;

const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// True for types whose scripts a browser may run in a document. The type comes from the uploader.
pub(super) fn is_active(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((kind, subtype)) = essence.split_once('/') else { return true };
    let is_token =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b));
    if !is_token(kind) || !is_token(subtype) {
        // Browsers guess the type in this case.
        return true;
    }
    match (kind, subtype) {
        // A type of several parts may have a document among them.
        ("text", "html" | "xml" | "xsl")
        | ("application", "xml" | "unknown")
        | ("multipart" | "message" | "unknown", _) => true,
        (_, subtype) => subtype.ends_with("+xml"),
    }
}

/// Sandboxes a document on the portal's origin.
pub(super) fn sandbox(headers: &mut HeaderMap) {
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Marks the answer as dependent on whether a browser navigates or fetches.
pub(super) fn vary(headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("Sec-Fetch-Dest, Sec-Fetch-Mode"));
}

/// True if a browser wants to show the answer as a document.
pub(super) fn is_navigation(headers: &HeaderMap) -> bool {
    let is = |name: &HeaderName, text: &str| headers.get(name).is_some_and(|value| value == text);
    is(&FETCH_DEST, "document") || is(&FETCH_MODE, "navigate")
}

/// The URL of the path on the skylink's own host. `None` if this client may be unable to reach it. Such a client used a
/// name other than the configured one, such as an address, so the other name may not resolve for it.
pub(super) fn own_url(request: &Request, options: &PortalOptions, skylink: Skylink, rest: &str) -> Option<HeaderValue> {
    let asked = request.portal_url(options);
    let (scheme, authority) = asked.split_once("://")?;
    let authority = authority.split('/').next().unwrap_or(authority);
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, Some(port)),
        _ => (authority, None),
    };
    if !reaches(name, &options.hostname) {
        return None;
    }
    let mut url = format!("{scheme}://{}.{}", skylink.to_base32(), options.hostname);
    if let Some(port) = port {
        url.push(':');
        url.push_str(port);
    }
    url.push_str(if rest.is_empty() { "/" } else { rest });
    if let Some(query) = &request.raw_query {
        url.push('?');
        url.push_str(query);
    }
    HeaderValue::from_str(&url).ok()
}

/// Browsers resolve all names below `localhost` to the machine itself.
fn reaches(name: &str, hostname: &str) -> bool {
    let loopback = hostname == "localhost" && matches!(name, "127.0.0.1" | "[::1]");
    loopback || name.eq_ignore_ascii_case(hostname) || below(name, hostname).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn documents_that_run_scripts_are_known() {
        for kind in [
            "text/html",
            "Text/HTML; charset=utf-8",
            " text/html",
            "application/xhtml+xml",
            "image/svg+xml",
            "text/xml",
            "application/xml;x",
            "application/rss+xml",
            "text/xsl",
            "multipart/x-mixed-replace; boundary=a",
            "message/rfc822",
            "",
            "html",
            "*/*",
            "text/",
            "unknown/unknown",
            "text/html,text/plain",
        ] {
            assert!(is_active(kind), "{kind}");
        }
        for kind in ["text/plain; charset=utf-8", "application/json", "image/png", "text/javascript", "application/pdf"]
        {
            assert!(!is_active(kind), "{kind}");
        }
    }

    #[test]
    fn a_navigation_says_so() {
        let with = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
        };
        assert!(is_navigation(&with("sec-fetch-dest", "document")));
        assert!(is_navigation(&with("sec-fetch-mode", "navigate")));
        assert!(!is_navigation(&with("sec-fetch-mode", "cors")));
        assert!(!is_navigation(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn html_is_active_however_it_is_written(case in "(?i)text/html", rest in "|;.{0,10}", blank in "[ \t]{0,2}") {
            let written = format!("{blank}{case}{blank}{rest}");
            prop_assert!(is_active(&written), "{}", written);
        }
    }
}
