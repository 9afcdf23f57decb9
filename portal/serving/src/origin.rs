//! The URL that a client used, which behind a proxy is not the server's own.

use std::fmt;
use std::net::IpAddr;

use http::header::HOST;
use http::{HeaderMap, Uri};

use crate::{TrustedProxies, forwarded};

/// The scheme of a connection. Requests carry it as an extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    #[default]
    Http,
    /// HTTP over TLS, which ends at this server.
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
    }
}

/// Longest host name with its port, in bytes.
const MAX_HOST: usize = 262;

impl TrustedProxies {
    /// Scheme and host that the client of a request used, such as `https://registry.example`, without a path. A trusted
    /// peer tells them by `X-Forwarded-Proto`, `-Host` and `-Port`, or by `Forwarded`. Otherwise they are the scheme of
    /// the connection and the request's own host. `None` if there is no host that is valid in a URL.
    pub fn origin(&self, peer: IpAddr, own: Scheme, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        let said = if self.trust(peer) {
            forwarded::origin(headers, |hop| self.trust(hop))
        } else {
            forwarded::Origin::default()
        };
        let scheme = said.proto.filter(|proto| matches!(proto.as_str(), "http" | "https"));
        let scheme = scheme.unwrap_or_else(|| own.to_string());
        let own_host = || match uri.authority() {
            // HTTP/2 has the host in the URI.
            Some(authority) => Some(authority.as_str().to_owned()),
            None => headers.get(HOST)?.to_str().ok().map(str::to_owned),
        };
        let mut host = said.host.filter(|host| is_host(host)).or_else(own_host).filter(|host| is_host(host))?;
        // A client treats `example.org:443` and `example.org` as different hosts, and sends no credentials to the
        // former.
        let default = if scheme == "https" { 443 } else { 80 };
        if let Some(port) = said.port.filter(|port| *port != default && !has_port(&host)) {
            host = format!("{host}:{port}");
        }
        Some(format!("{scheme}://{host}"))
    }
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'))
}

/// True if the text has only characters of a host and port. It is copied into answers.
fn is_host(host: &str) -> bool {
    let of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=MAX_HOST).contains(&host.len()) && host.bytes().all(of_a_host)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn origin(peer: &str, lines: &[(&str, &str)]) -> Option<String> {
        origin_over(Scheme::Http, peer, lines)
    }

    fn origin_over(scheme: Scheme, peer: &str, lines: &[(&str, &str)]) -> Option<String> {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let headers = lines
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
            .collect();
        proxies.origin(peer.parse().unwrap(), scheme, &Uri::from_static("/v2/"), &headers)
    }

    #[test]
    fn a_peer_that_is_no_trusted_proxy_changes_nothing_but_its_host() {
        let lies = [("host", "a:5000"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example")];
        assert_eq!(origin("192.0.2.1", &lies).as_deref(), Some("http://a:5000"));
        assert_eq!(origin("192.0.2.1", &[]), None);
        assert_eq!(origin("192.0.2.1", &[("host", "a/b")]), None);
    }

    #[test]
    fn the_connection_has_a_scheme_that_only_a_trusted_proxy_replaces() {
        let lines = [("host", "a:5000"), ("x-forwarded-proto", "http")];
        assert_eq!(origin_over(Scheme::Https, "192.0.2.1", &lines).as_deref(), Some("https://a:5000"));
        assert_eq!(origin_over(Scheme::Https, "10.0.0.1", &lines[..1]).as_deref(), Some("https://a:5000"));
        assert_eq!(origin_over(Scheme::Https, "10.0.0.1", &lines).as_deref(), Some("http://a:5000"));
    }

    #[test]
    fn a_trusted_proxy_tells_scheme_host_and_port() {
        let host = ("host", "inner:5000");
        for (lines, expected) in [
            (vec![], "http://inner:5000"),
            (vec![("x-forwarded-proto", "https"), ("x-forwarded-host", "a.example")], "https://a.example"),
            (vec![("x-forwarded-proto", "http, HTTPS"), ("x-forwarded-host", "evil, a.example")], "https://a.example"),
            (vec![("x-forwarded-host", "a"), ("x-forwarded-port", "8080")], "http://a:8080"),
            (vec![("x-forwarded-host", "a:1"), ("x-forwarded-port", "8080")], "http://a:1"),
            (vec![("x-forwarded-host", "[::1]"), ("x-forwarded-port", "8080")], "http://[::1]:8080"),
            (vec![("x-forwarded-proto", "https"), ("x-forwarded-host", "a"), ("x-forwarded-port", "443")], "https://a"),
            (vec![("x-forwarded-proto", "gopher"), ("x-forwarded-host", "a\"b")], "http://inner:5000"),
            (vec![("forwarded", "for=192.0.2.1;proto=https;host=\"a.example:444\"")], "https://a.example:444"),
            (vec![("forwarded", "proto=https;host=b"), ("x-forwarded-host", "a")], "http://a"),
            // The first element was written by the client.
            (vec![("forwarded", "for=9.9.9.9;host=evil, for=1.1.1.1;host=good;proto=https")], "https://good"),
            (vec![("forwarded", "host=evil, host=good")], "http://good"),
            // The client spoke to the first of two trusted proxies.
            (vec![("forwarded", "host=evil, for=1.1.1.1;host=good, for=10.0.0.2;host=inner")], "http://good"),
            (vec![("forwarded", "for=10.0.0.3;host=good, for=10.0.0.2;host=inner")], "http://good"),
        ] {
            let lines: Vec<_> = lines.into_iter().chain([host]).collect();
            assert_eq!(origin("10.0.0.1", &lines).as_deref(), Some(expected), "{lines:?}");
        }
    }

    #[test]
    fn http2_has_the_host_in_the_uri() {
        let uri = Uri::from_static("http://a.example:5000/v2/");
        let peer = "192.0.2.1".parse().unwrap();
        let found = TrustedProxies::default().origin(peer, Scheme::Http, &uri, &HeaderMap::new());
        assert_eq!(found.as_deref(), Some("http://a.example:5000"));
    }

    proptest! {
        #[test]
        fn no_header_makes_a_url_that_is_none(value in "[ -~]{0,50}", name in prop::sample::select(
            vec!["host", "forwarded", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port"]
        )) {
            for peer in ["10.0.0.1", "192.0.2.1"] {
                if let Some(url) = origin(peer, &[(name, value.as_str()), ("host", "a")]) {
                    prop_assert!(url.strip_prefix("http://").or(url.strip_prefix("https://")).is_some_and(is_host));
                }
            }
        }
    }
}
