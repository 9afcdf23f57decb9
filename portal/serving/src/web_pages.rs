//! The requests that a listener refuses to web pages.
//!
//! A browser sends requests of any page to any address that it can reach, so also to its own machine. A page can read
//! the answers, too, if its own name resolves to that address (DNS rebinding). Therefore a listener on this machine
//! answers only to known names, and a foreign page cannot change anything.

use std::net::{IpAddr, Ipv6Addr};

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Uri};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// All headers that local programs send. A request with any other header is of a browser or a proxy.
const OF_PROGRAMS: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "range",
    // `fetch` of Node sends it. Browsers also send `Sec-Fetch-Site`, which is not in this list.
    "sec-fetch-mode",
    "skyberth-peer",
    "skynet-api-key",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// The names and origins that one listener accepts. The default accepts all names, and only its own origin.
#[derive(Clone, Debug, Default)]
pub struct WebPages {
    /// Names that `Host` may have, besides addresses and the names of this machine. `*.name` is all names below a name.
    /// `None`: any name.
    pub names: Option<Vec<String>>,
    /// URL under which clients reach the listener; empty if it has none.
    pub url: String,
    /// Origins of pages that may change something, such as `https://ui.example`.
    pub origins: Vec<String>,
}

/// The reason why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignRequest {
    /// The name is not one of this listener.
    #[error("{0:?} is no name of this server: add it to server.hosts")]
    Host(String),
    /// The page is not one of this listener.
    #[error("a page of {0:?} may not change anything here: add its origin to server.origins")]
    Origin(String),
    /// The page is of another site, which the browser does not name.
    #[error("a page of another site may not change anything here")]
    Site,
}

impl WebPages {
    /// Checks the host that a client asked for. A request without a host passes, since browsers always send one.
    pub fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ForeignRequest> {
        let (Some(names), Some(asked)) = (&self.names, requested_host(uri, headers)) else { return Ok(()) };
        let name = without_port(&asked);
        let own = authority(&self.url).map(without_port);
        let is_known = |known: &str| match known.strip_prefix('*') {
            Some(below) => name.len() > below.len() && ends_with(name, below),
            None => name.eq_ignore_ascii_case(known),
        };
        let known = ip(name).is_some() || is_this_machine(name) || own.is_some_and(is_known);
        if known || names.iter().any(|known| is_known(known)) { Ok(()) } else { Err(ForeignRequest::Host(shown(name))) }
    }

    /// Checks the page that requests a change. Programs send no origin, and pass. `asked` is the origin that the client
    /// asked for.
    pub fn check_page(&self, asked: Option<&str>, headers: &HeaderMap) -> Result<(), ForeignRequest> {
        let own = [asked, Some(self.url.as_str())].into_iter().flatten().filter_map(authority).collect::<Vec<_>>();
        let mut listed = false;
        for origin in headers.get_all(ORIGIN) {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            let is_listed = self.origins.iter().any(|known| known.eq_ignore_ascii_case(&origin));
            let is_own = authority(&origin).is_some_and(|origin| own.iter().any(|own| same_authority(own, origin)));
            if !is_listed && !is_own {
                return Err(ForeignRequest::Origin(shown(&origin)));
            }
            listed |= is_listed;
        }
        let is_cross_site = headers.get_all(SEC_FETCH_SITE).iter().any(|site| site == "cross-site");
        if is_cross_site && !listed { Err(ForeignRequest::Site) } else { Ok(()) }
    }
}

/// True for a request of a local program: its address, and its host if it names one, are of this machine, and it has no
/// header of a browser or a proxy. The address is not enough, since a proxy on this machine has it, too.
pub fn is_local_program(client: IpAddr, uri: &Uri, headers: &HeaderMap) -> bool {
    let asked = requested_host(uri, headers);
    let is_here = |name: &str| is_this_machine(name) || ip(name).is_some_and(|ip| ip.is_loopback());
    client.to_canonical().is_loopback()
        && asked.is_none_or(|asked| is_here(without_port(&asked)))
        && headers.keys().all(|name| OF_PROGRAMS.contains(&name.as_str()))
}

/// The host and port that a client asked for. HTTP/2 has it in the URI.
fn requested_host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let in_header = || Some(String::from_utf8_lossy(headers.get(HOST)?.as_bytes()).into_owned());
    uri.authority().map(|authority| authority.as_str().to_owned()).or_else(in_header).filter(|host| !host.is_empty())
}

fn authority(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    Some(rest.split('/').next().unwrap_or(rest))
}

/// Ignores the default ports, since clients leave them out and proxies may add them.
fn same_authority(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.strip_suffix(":80").or(text.strip_suffix(":443")).unwrap_or(text).to_owned();
    plain(one).eq_ignore_ascii_case(&plain(other))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn ip(name: &str) -> Option<IpAddr> {
    let bracketed = || name.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    name.parse().ok().or_else(bracketed)
}

/// True for `localhost` and names below it. Browsers and resolvers never ask a name server for these.
fn is_this_machine(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || ends_with(name, ".localhost")
}

fn ends_with(name: &str, end: &str) -> bool {
    name.len().checked_sub(end.len()).and_then(|at| name.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn pages() -> WebPages {
        WebPages {
            names: Some(vec!["registry.lan".to_owned(), "*.portal.lan".to_owned()]),
            url: "https://registry.example:444".to_owned(),
            origins: vec!["https://ui.example".to_owned()],
        }
    }

    fn answers_to(host: &str) -> bool {
        pages().check_host(&Uri::from_static("/"), &headers(&[("host", host)])).is_ok()
    }

    /// Every name was accepted, so a page could push, delete and read after it rebound its own name.
    #[test]
    fn only_known_names_are_answered_to() {
        for host in [
            "127.0.0.1:5000",
            "10.1.2.3",
            "[::1]:5000",
            "[2001:db8::1]",
            "localhost:5000",
            "LOCALHOST",
            "a.b.localhost:1",
            "registry.lan:5000",
            "Registry.Example",
            "x.portal.lan",
        ] {
            assert!(answers_to(host), "{host}");
        }
        for host in [
            "evil.example",
            "registry.lan.evil.example",
            "portal.lan",
            ".portal.lan",
            "127.0.0.1.evil.example",
            "localhost.",
            "xlocalhost",
            "1",
        ] {
            assert!(!answers_to(host), "{host}");
        }
        let http2 = pages().check_host(&Uri::from_static("http://evil.example/v2/"), &HeaderMap::new());
        assert_eq!(http2, Err(ForeignRequest::Host("evil.example".to_owned())));
        assert!(pages().check_host(&Uri::from_static("/"), &HeaderMap::new()).is_ok(), "a probe over HTTP/1.0");
        let anything = WebPages::default().check_host(&Uri::from_static("/"), &headers(&[("host", "evil.example")]));
        assert!(anything.is_ok());
    }

    #[test]
    fn foreign_pages_change_nothing() {
        let may = |lines: &[(&str, &str)]| pages().check_page(Some("http://127.0.0.1:5000"), &headers(lines)).is_ok();
        for lines in [
            &[][..],
            &[("origin", "http://127.0.0.1:5000")],
            &[("origin", "https://registry.example:444"), ("sec-fetch-site", "same-origin")],
            &[("origin", "https://ui.example"), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-mode", "cors")],
        ] {
            assert!(may(lines), "{lines:?}");
        }
        for lines in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "http://127.0.0.1:5001")],
            &[("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")],
            &[("origin", "https://ui.example"), ("origin", "https://evil.example")],
            &[("sec-fetch-site", "cross-site")],
            &[("origin", "http://127.0.0.1:5000"), ("sec-fetch-site", "cross-site")],
        ] {
            assert!(!may(lines), "{lines:?}");
        }
        let behind_tls = pages().check_page(Some("http://a.example"), &headers(&[("origin", "https://a.example")]));
        assert!(behind_tls.is_ok(), "the scheme is not known behind a proxy that is not trusted");
    }

    /// The check passed any host, and proxies with headers that were not on its list.
    #[test]
    fn a_local_program_sends_nothing_of_a_proxy_or_browser() {
        let is_one = |client: &str, lines: &[(&str, &str)]| {
            is_local_program(client.parse().unwrap(), &Uri::from_static("/"), &headers(lines))
        };
        let curl = [("host", "127.0.0.1:9980"), ("user-agent", "curl/8"), ("accept", "*/*"), ("content-length", "0")];
        for client in ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"] {
            assert!(is_one(client, &curl), "{client}");
        }
        assert!(is_one("127.0.0.1", &[("host", "[::1]:9980"), ("skynet-api-key", "x"), ("skyberth-peer", "1")]));
        assert!(is_one("127.0.0.1", &[("host", "localhost"), ("accept-language", "*"), ("sec-fetch-mode", "cors")]));
        for client in ["192.0.2.1", "10.0.0.1", "2001:db8::1"] {
            assert!(!is_one(client, &curl), "{client}");
        }
        for mark in [
            "cf-connecting-ip",
            "x-forwarded-host",
            "x-forwarded-for",
            "x-client-ip",
            "x-real-ip",
            "true-client-ip",
            "forwarded",
            "via",
            "cdn-loop",
            "x-request-id",
            "origin",
            "referer",
            "cookie",
            "sec-fetch-site",
            "sec-ch-ua",
        ] {
            assert!(!is_one("127.0.0.1", &[("host", "127.0.0.1"), (mark, "127.0.0.1")]), "{mark}");
        }
        for host in ["portal.example", "192.0.2.1", "127.0.0.1.evil.example"] {
            assert!(!is_one("127.0.0.1", &[("host", host)]), "{host}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(host in "[ -~]{0,30}", origin in "[ -~]{0,30}") {
            let headers = headers(&[("host", &host), ("origin", &origin)]);
            let _ = pages().check_host(&Uri::from_static("/"), &headers);
            let _ = pages().check_page(Some(&host), &headers);
            let _ = is_local_program([127, 0, 0, 1].into(), &Uri::from_static("/"), &headers);
        }
    }
}
