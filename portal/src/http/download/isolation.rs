//! Keeps documents of different skylinks apart in a browser. They share the portal's origin, and any client may upload
//! one.
//!
//! Every answer of the shared origin is sandboxed and may not be sniffed. A browser that navigates to active content is
//! also redirected to the skylink's own host. There a document has an origin of its own, and no policy of the portal.

use http::header::{CONTENT_SECURITY_POLICY, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue};
use skynet_formats::skylink::Skylink;

use super::address::below;
use crate::PortalOptions;
use crate::http::request::Request;

const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Media types that browsers save, or show without running scripts. All others count as active, even unknown ones.
const PASSIVE: &[&str] = &[
    "application/gzip",
    "application/java-archive",
    "application/javascript",
    "application/json",
    "application/octet-stream",
    "application/wasm",
    "application/x-7z-compressed",
    "application/x-bzip2",
    "application/x-gzip",
    "application/x-tar",
    "application/zip",
    "application/zstd",
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "audio/wave",
    "audio/webm",
    "audio/x-wav",
    "font/collection",
    "font/otf",
    "font/ttf",
    "font/woff",
    "font/woff2",
    "image/apng",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/heic",
    "image/jpeg",
    "image/jxl",
    "image/png",
    "image/tiff",
    "image/vnd.microsoft.icon",
    "image/webp",
    "image/x-icon",
    "text/css",
    "text/csv",
    "text/javascript",
    "text/markdown",
    "text/plain",
    "text/vtt",
    "video/mp2t",
    "video/mp4",
    "video/mpeg",
    "video/ogg",
    "video/quicktime",
    "video/webm",
    "video/x-matroska",
];

/// True for media types in which a browser may run scripts. The type comes from the uploader.
///
/// Browsers parse `Content-Type` as a list (<https://fetch.spec.whatwg.org/#concept-header-extract-mime-type>), and
/// disagree about commas in quotes. So the text is split at each comma, and every part must be passive.
pub(in crate::http) fn is_active(media_type: &str) -> bool {
    !media_type.split(',').all(|part| PASSIVE.contains(&essence(part).as_str()))
}

/// Type and subtype (<https://mimesniff.spec.whatwg.org/#parse-a-mime-type>). A text that is invalid by the standard
/// becomes one that is not in the list of passive types.
fn essence(media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim_matches(['\t', '\n', '\r', ' ']).to_ascii_lowercase()
}

/// Restricts any answer of the portal's own origin. A policy that the answer already has stays.
pub(in crate::http) fn restrict(headers: &mut HeaderMap) {
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static("sandbox"));
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

/// The URL of the path on the skylink's own host. `None` if the client used another name than the configured one, such
/// as an address. Names below the configured one may not resolve for it.
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

/// True if a client that used `name` can reach names below `hostname`. Browsers resolve all names below `localhost` to
/// the machine itself.
fn reaches(name: &str, hostname: &str) -> bool {
    let loopback = hostname == "localhost" && matches!(name, "127.0.0.1" | "[::1]");
    loopback || name.eq_ignore_ascii_case(hostname) || below(name, hostname).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types_that_may_run_scripts_are_active() {
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
            "application/pdf",
            "application/x-unheard-of",
            "",
            "html",
            "*/*",
            "text/",
            "unknown/unknown",
            "text/plain html",
            "text/plain(text/html)",
        ] {
            assert!(is_active(kind), "{kind}");
        }
        for kind in
            ["text/plain; charset=utf-8", "Application/JSON", "image/png", "text/javascript", "\ttext/css ;x=\"a\""]
        {
            assert!(!is_active(kind), "{kind}");
        }
    }

    /// `text/plain;charset=gbk,text/html` counted as text, and browsers ran its scripts.
    #[test]
    fn every_part_of_a_list_counts() {
        for kind in [
            "text/plain;charset=gbk,text/html",
            "text/html,text/plain",
            "text/plain;a=',text/html;'",
            "text/plain;a=\",text/html;\"",
            "text/plain;,text/html;x",
            "text/plain,",
            "text/plain,*/*",
        ] {
            assert!(is_active(kind), "{kind}");
        }
        assert!(!is_active("text/plain;charset=gbk, text/plain"));
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
            for before in ["", "text/plain,", "image/png;a=b,"] {
                let written = format!("{before}{blank}{case}{blank}{rest}");
                prop_assert!(is_active(&written), "{}", written);
            }
        }
    }
}
