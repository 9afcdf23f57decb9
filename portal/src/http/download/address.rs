//! The address of a download: the skylink, the path in it, and the origin.

use percent_encoding::percent_decode_str;
use skynet_formats::skylink::{Skylink, SkylinkError};

/// Lengths in characters of the two text forms of a skylink.
const BASE64: usize = 46;
const BASE32: usize = 55;

/// A skylink and a path, as named by a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The skylink's text, not yet validated.
    link: String,
    /// The rest after it, still encoded: empty, or a slash and more.
    rest: String,
    /// True if the host is the skylink's own, so that its documents share their origin with no others.
    own_origin: bool,
}

impl Address {
    /// The address in a path `<skylink>[/path]`.
    pub(crate) fn in_path(text: &str) -> Self {
        let (link, rest) = text.split_at(text.find('/').unwrap_or(text.len()));
        Address { link: link.to_owned(), rest: rest.to_owned(), own_origin: false }
    }

    /// The address in a path without another meaning; `None` if it cannot begin with a skylink.
    pub(crate) fn in_root(path: &str) -> Option<Self> {
        let address = Address::in_path(path.strip_prefix('/')?);
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_link = match address.link.len() {
            BASE64 => address.link.bytes().all(is_base64),
            BASE32 => is_base32(&address.link),
            _ => false,
        };
        is_link.then_some(address)
    }

    /// The address on the host `<skylink>.<hostname>[:port]`, where all paths belong to the skyfile.
    pub(crate) fn on_host(host: &str, hostname: &str, path: &str) -> Option<Self> {
        let label = below(host, hostname)?;
        let rest = if path.is_empty() { "/" } else { path };
        is_base32(label).then(|| Address { link: label.to_owned(), rest: rest.to_owned(), own_origin: true })
    }

    pub(super) fn skylink(&self) -> Result<Skylink, SkylinkError> {
        self.link.parse()
    }

    pub(in crate::http) fn is_own_origin(&self) -> bool {
        self.own_origin
    }

    /// The path after the skylink with its slash, still encoded.
    pub(super) fn rest(&self) -> &str {
        &self.rest
    }

    /// The path in the skyfile; `None` if its escapes are invalid. skyd decodes paths like forms, so `+` is a space.
    pub(super) fn path(&self) -> Option<String> {
        decode(&self.rest.replace('+', " "))
    }

    /// The path in the skyfile with `+` unchanged, as other servers decode it.
    pub(super) fn literal_path(&self) -> Option<String> {
        decode(&self.rest)
    }

    /// True if the root is requested without a slash, which would break relative links in a document.
    pub(super) fn lacks_slash(&self) -> bool {
        self.rest.is_empty()
    }

    /// The address with a slash at its end, relative to the requested URL.
    pub(super) fn with_slash(&self) -> String {
        format!("{}/", self.link)
    }
}

fn decode(rest: &str) -> Option<String> {
    let bytes = rest.as_bytes();
    let encoded = |at: usize| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if (0..bytes.len()).any(|at| bytes[at] == b'%' && !encoded(at)) {
        return None;
    }
    // A second slash after the skylink counts as one.
    let path = rest.strip_prefix('/').filter(|path| path.starts_with('/')).unwrap_or(rest);
    let path = percent_decode_str(path).decode_utf8_lossy();
    Some(if path.is_empty() { "/".to_owned() } else { path.into_owned() })
}

/// The text before `.hostname` in a host with or without a port.
pub(crate) fn below<'a>(host: &'a str, hostname: &str) -> Option<&'a str> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let (label, dotted) = name.split_at_checked(name.len().checked_sub(hostname.len() + 1)?)?;
    dotted.strip_prefix('.')?.eq_ignore_ascii_case(hostname).then_some(label)
}

/// Hosts and their labels are case-insensitive.
fn is_base32(text: &str) -> bool {
    text.len() == BASE32 && text.bytes().all(|byte| matches!(byte.to_ascii_lowercase(), b'0'..=b'9' | b'a'..=b'v'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINK: &str = "IAC6CkhNYuWZqMVr1gob1B6tPg4MrBGRzTaDvAIAeu9A9w";
    const BASE32_LINK: &str = "bg06v2tidkir84hg0s1s4t97jaeoaa1jse1svrad657u070c9calq4g";

    #[test]
    fn paths_follow_the_skylink() {
        for (rest, path) in [
            ("", "/"),
            ("/", "/"),
            ("/foo/bar.baz", "/foo/bar.baz"),
            ("/foo/bar/", "/foo/bar/"),
            ("//foo", "/foo"),
            ("/foo%3Fbar%2Fb", "/foo?bar/b"),
            ("/%2Ffoo", "//foo"),
            ("/a+b%20c%2B", "/a b c+"),
            ("/caf%C3%A9", "/café"),
            ("/%ff", "/\u{fffd}"),
        ] {
            let address = Address::in_path(&format!("{LINK}{rest}"));
            assert_eq!(address.path().as_deref(), Some(path), "{rest}");
            assert_eq!(address.skylink().unwrap().to_string(), LINK);
        }
        assert_eq!(Address::in_path(&format!("{LINK}/a+b")).literal_path().as_deref(), Some("/a+b"));
        for rest in ["/%", "/%f", "/%zz", "/a%"] {
            assert_eq!(Address::in_path(&format!("{LINK}{rest}")).path(), None, "{rest}");
        }
    }

    #[test]
    fn the_root_takes_only_what_looks_like_a_skylink() {
        assert!(Address::in_root(&format!("/{LINK}/a")).is_some());
        assert!(Address::in_root(&format!("/{BASE32_LINK}")).is_some());
        for path in ["", "/", "/skynet", "/favicon.ico", &format!("/{}", &LINK[1..]), &format!("/.{}", &LINK[1..])] {
            assert_eq!(Address::in_root(path), None, "{path}");
        }
    }

    #[test]
    fn a_skylink_has_a_host_of_its_own() {
        for host in ["localhost", "localhost:9980", "LOCALHOST:1"] {
            let address = Address::on_host(&format!("{BASE32_LINK}.{host}"), "localhost", "/a").unwrap();
            assert!(address.is_own_origin());
            assert_eq!(address.path().as_deref(), Some("/a"));
            assert_eq!(address.skylink().unwrap().to_base32(), BASE32_LINK);
        }
        let upper = Address::on_host(&format!("{}.localhost", BASE32_LINK.to_uppercase()), "localhost", "").unwrap();
        assert!(upper.skylink().is_ok() && !upper.lacks_slash());
        for host in ["localhost", ".localhost", "x.localhost", &format!("{BASE32_LINK}.xlocalhost"), BASE32_LINK, "é"]
        {
            assert_eq!(Address::on_host(host, "localhost", "/"), None, "{host}");
        }
    }

    proptest! {
        #[test]
        fn no_host_and_no_path_panics(host in ".{0,20}|[a.:]{0,8}localhost.{0,3}", path in "[/%a-fé+]{0,12}|.{0,20}") {
            let _ = Address::on_host(&host, "localhost", &path);
            let _ = Address::in_root(&path);
            if let Some(path) = Address::in_path(&path).path() {
                prop_assert!(path.starts_with('/'));
            }
        }
    }
}
