//! Targets for fuzzing: headers and queries of requests.

use std::net::{IpAddr, Ipv4Addr};

use http::header::IF_NONE_MATCH;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::{
    EntityTags, Network, Query, Ranges, Scheme, TrustedProxies, WebPages, client_network, entity_tags,
    inbound_request_id, is_local_program, parse_range, precondition, range_applies,
};

#[cfg(test)]
#[path = "../../../registry/fuzz/replay.rs"]
mod replay;

/// A name and what it does with an input. A fault is a panic.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[FuzzTarget] = &[
    ("conditions", conditions),
    ("forwarded", forwarded),
    ("networks", networks),
    ("queries", queries),
    ("ranges", ranges),
    ("web-pages", web_pages),
];

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// Lines of `name: value`, as a server has read them. Invalid ones are left out.
fn headers(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// The path or URL of the first line, and the headers of the others.
fn request(bytes: &[u8]) -> Option<(Uri, HeaderMap)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((Uri::try_from(&bytes[..end]).ok()?, headers(&bytes[end..])))
}

fn conditions(bytes: &[u8]) {
    let headers = headers(bytes);
    let etag = HeaderValue::from_static("\"a\"");
    let status = precondition(&headers, Some(&etag));
    assert!(status.is_none_or(|status| matches!(status.as_u16(), 304 | 412)));
    range_applies(&headers, Some(&etag));
    if let Some(EntityTags::Listed(tags)) = entity_tags(&headers, &IF_NONE_MATCH) {
        for tag in tags {
            let inner = tag.opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            assert!(inner.is_some_and(|inner| !inner.contains('"')), "{tag:?}");
        }
    }
}

fn forwarded(bytes: &[u8]) {
    let Some((uri, headers)) = request(bytes) else { return };
    let proxies = TrustedProxies::new(["10.0.0.0/8", "fd00::/8"].into_iter().flat_map(str::parse).collect());
    let stranger = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(proxies.client(stranger, &headers), stranger);
    // A trusted proxy that names no address is the client itself.
    let client = proxies.client(PROXY, &headers);
    assert_eq!(client, client.to_canonical());
    for peer in [PROXY, stranger] {
        let Some(origin) = proxies.origin(peer, Scheme::Http, &uri, &headers) else { continue };
        let (scheme, host) = origin.split_once("://").expect("a scheme");
        assert!(matches!(scheme, "http" | "https"), "{origin:?}");
        assert!(!host.is_empty() && host.len() <= 262 + 6, "{origin:?}");
        assert!(host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte)), "{origin:?}");
    }
    if let Some(id) = inbound_request_id(&headers) {
        assert!(id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'));
    }
}

fn networks(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(network) = text.parse::<Network>() {
        assert_eq!(network.to_string().parse(), Ok(network));
    }
    if let Ok(address) = text.parse() {
        let network = client_network(address);
        assert_eq!(client_network(network), network);
    }
}

fn queries(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let names = ["", "n", "last", "digest", "mount", "from", "filename"];
    for query in [Query::parse(Some(text)), Query::parse_uri(Some(text))] {
        let longest: usize = names.iter().flat_map(|name| query.all(name)).map(str::len).sum();
        // An encoded byte takes three, and so does the replacement of a byte that is no UTF-8.
        assert!(longest <= text.len() * names.len());
        for name in names {
            assert_eq!(query.get(name), query.all(name).next());
        }
    }
}

/// A size, a line break, and the value of `Range`.
fn ranges(bytes: &[u8]) {
    let Some((size, header)) = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once('\n')) else { return };
    let Ok(size) = size.parse() else { return };
    let Ranges::Parts(parts) = parse_range(header, size) else { return };
    assert!((1..=1024).contains(&parts.len()));
    let mut total = 0_u64;
    for part in parts {
        assert!(part.first <= part.last && part.last < size, "{part:?}");
        assert_eq!(part.offsets().end - part.offsets().start, part.length());
        total = total.checked_add(part.length()).expect("at most the size");
    }
    assert!(total <= size);
}

fn web_pages(bytes: &[u8]) {
    let Some((uri, headers)) = request(bytes) else { return };
    let names = ["registry.example", "*.apps.example"].map(str::to_owned).to_vec();
    let pages = WebPages {
        names: Some(names),
        url: "https://registry.example:8443/base".to_owned(),
        origins: vec!["https://ui.example".to_owned()],
    };
    if let Err(error) = pages.check_host(&uri, &headers) {
        assert!(error.to_string().chars().count() < 2000);
    }
    let asked = TrustedProxies::default().origin(PROXY, Scheme::Http, &uri, &headers);
    let _ = pages.check_page(asked.as_deref(), &headers);
    assert!(!is_local_program(PROXY, &uri, &headers));
    if is_local_program(Ipv4Addr::LOCALHOST.into(), &uri, &headers) {
        // What passes as a program on this machine can never be refused for its host.
        assert_eq!(pages.check_host(&uri, &headers), Ok(()));
        assert!(!headers.contains_key("origin"));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_file_of_the_corpora_breaks_its_target() {
        super::replay::replay(env!("CARGO_MANIFEST_DIR"), super::TARGETS);
    }
}
