//! The original request as proxies describe it, in `X-Forwarded-*` or `Forwarded` (RFC 7239). If both are present,
//! `X-Forwarded-*` counts: most proxies write it, and pass on a client's own `Forwarded`.

use std::net::{IpAddr, SocketAddr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};

/// The number of proxies that are examined between this server and a client; no real chain is as long.
pub(crate) const MAX_HOPS: usize = 32;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// The addresses that the proxies name, from the first to the last; `None` for an entry that is not an address.
pub(crate) fn clients(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    if headers.contains_key(X_FORWARDED_FOR) {
        return elements(headers, &X_FORWARDED_FOR).map(|element| address(&element)).collect();
    }
    let named = |element: String| address(&parameter(&element, "for")?);
    elements(headers, &FORWARDED).map(named).collect()
}

/// The origin that the client asked for, as far as proxies say.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    pub(crate) proto: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
}

/// The values that the proxy beside the client wrote, since the client spoke to that one. They are unchecked text.
///
/// An element of `Forwarded` is that proxy's if it names the client: see [`crate::TrustedProxies::client`]. In lists of
/// `X-Forwarded-*`, only the rightmost value was surely written by a proxy; the others may be the client's.
pub(crate) fn origin(headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Origin {
    let last = |name: &HeaderName| elements(headers, name).last();
    let own = [X_FORWARDED_PROTO, X_FORWARDED_HOST, X_FORWARDED_PORT];
    if own.iter().any(|name| headers.contains_key(name)) {
        return Origin {
            proto: last(&X_FORWARDED_PROTO).map(|proto| proto.to_ascii_lowercase()),
            host: last(&X_FORWARDED_HOST),
            port: last(&X_FORWARDED_PORT).and_then(|port| port.parse().ok()),
        };
    }
    let by_proxy =
        |element: &String| parameter(element, "for").and_then(|name| address(&name)).is_some_and(&is_trusted);
    let all: Vec<String> = elements(headers, &FORWARDED).collect();
    let recent = &all[all.len().saturating_sub(MAX_HOPS)..];
    let Some(element) = recent.iter().rev().find(|element| !by_proxy(element)).or(recent.first()) else {
        return Origin::default();
    };
    let proto = parameter(element, "proto").map(|proto| proto.to_ascii_lowercase());
    Origin { proto, host: parameter(element, "host"), port: None }
}

/// The elements of a list header over all its lines. Bytes that are no text spoil only the element that they stand in:
/// a client that sends one must not hide what the proxy appends.
fn elements(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> {
    headers.get_all(name).iter().flat_map(|line| {
        let text = String::from_utf8_lossy(line.as_bytes());
        let parts = split(&text, ',').into_iter().filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect::<Vec<_>>()
    })
}

/// The value of a parameter of one element of `Forwarded`, without quotes.
fn parameter(element: &str, wanted: &str) -> Option<String> {
    let pairs = split(element, ';').into_iter().filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim());
    let value = values.next()?;
    let Some(quoted) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    Some(quoted.strip_suffix('"')?.replace('\\', ""))
}

/// The trimmed parts between separators outside of quotes. Unbalanced quotes count as nothing: a client that opens one
/// must not hide the text that the proxy appends.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let mut separates = |character: char| {
        let separates = character == separator && !quoted;
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        separates
    };
    let parts: Vec<&str> = text.split(&mut separates).map(str::trim).collect();
    if quoted { text.split(separator).map(str::trim).collect() } else { parts }
}

/// An address with or without a port, IPv6 also in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port)
}
