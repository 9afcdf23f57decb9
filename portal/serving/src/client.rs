//! The address of the client behind a request: the peer's, or the one that trusted proxies name.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::HeaderMap;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::forwarded;

/// A network of proxies, such as `10.0.0.0/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

/// The text is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address nor a network such as 10.0.0.0/8")]
pub struct InvalidNetwork(String);

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Network).map_err(|_| InvalidNetwork(text.to_owned()))
    }
}

impl TryFrom<String> for Network {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}

/// The proxies that are trusted to name a client. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

impl TrustedProxies {
    /// Trusts the proxies in these networks.
    pub fn new(networks: Vec<Network>) -> Self {
        TrustedProxies(networks)
    }

    /// True if a proxy at this address is trusted.
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.0.contains(&address))
    }

    /// The client of a request that came from `peer`. A trusted peer names the client in `X-Forwarded-For`, or in
    /// `Forwarded` if there is no `X-Forwarded-For`. Every proxy appends its own peer, so the client is the rightmost
    /// address that is not a trusted proxy. Addresses further left were written by the client. A trusted proxy that
    /// names no address is the client itself.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trust(client) {
            return client;
        }
        for hop in forwarded::clients(headers).iter().rev().take(forwarded::MAX_HOPS) {
            let Some(address) = hop else { break };
            client = address.to_canonical();
            if !self.trust(client) {
                break;
            }
        }
        client
    }
}

/// The network that counts as one client in limits: an IPv4 address, or the IPv6 /64 that each customer has.
pub fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const X_FORWARDED_FOR: &str = "x-forwarded-for";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn trusted() -> TrustedProxies {
        TrustedProxies::new(["10.0.0.0/8", "127.0.0.1", "fd00::/8"].map(|text| text.parse().unwrap()).to_vec())
    }

    fn client(peer: &str, headers: &[(&str, &str)]) -> IpAddr {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        });
        trusted().client(ip(peer), &headers.collect())
    }

    fn headers_of(lines: &[(HeaderName, HeaderValue)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.clone());
        }
        headers
    }

    #[test]
    fn a_peer_that_is_no_trusted_proxy_is_the_client_whatever_it_says() {
        for name in [X_FORWARDED_FOR, "forwarded"] {
            assert_eq!(client("192.0.2.1", &[(name, "for=10.0.0.1"), (name, "10.0.0.1")]), ip("192.0.2.1"));
        }
        let nobody = TrustedProxies::default();
        let headers = headers_of(&[(HeaderName::from_static(X_FORWARDED_FOR), HeaderValue::from_static("192.0.2.9"))]);
        assert_eq!(nobody.client(ip("127.0.0.1"), &headers), ip("127.0.0.1"));
    }

    #[test]
    fn the_rightmost_address_that_is_no_trusted_proxy_is_the_client() {
        for (value, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("198.51.100.7, 192.0.2.1", "192.0.2.1"),
            ("198.51.100.7, 192.0.2.1, 10.1.2.3", "192.0.2.1"),
            ("192.0.2.1:5678", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
            ("192.0.2.1,, ", "192.0.2.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[(X_FORWARDED_FOR, value)]), ip(expected), "{value}");
        }
    }

    #[test]
    fn a_proxy_that_names_no_address_is_the_client() {
        for value in ["", "unknown", "_hidden", "192.0.2.1, unknown", "192.0.2.1, 1.2.3", "192.0.2.1, \u{fc}"] {
            assert_eq!(client("10.0.0.1", &[(X_FORWARDED_FOR, value)]), ip("10.0.0.1"), "{value}");
        }
        assert_eq!(client("10.0.0.1", &[(X_FORWARDED_FOR, "192.0.2.1, x, 10.2.2.2")]), ip("10.2.2.2"));
    }

    /// One byte that is no text made the proxy's own address count.
    #[test]
    fn bytes_that_are_no_text_do_not_hide_what_the_proxy_appends() {
        for (name, value) in [(X_FORWARDED_FOR, &b"\xff, 192.0.2.1"[..]), ("forwarded", b"for=\x80,for=192.0.2.1")] {
            let line = (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
            assert_eq!(trusted().client(ip("10.0.0.1"), &headers_of(&[line])), ip("192.0.2.1"), "{name}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        let name = HeaderName::from_static(X_FORWARDED_FOR);
        let lines = ["203.0.113.1", "192.0.2.1", "10.3.3.3"].map(|value| (name.clone(), value.parse().unwrap()));
        assert_eq!(trusted().client(ip("10.0.0.1"), &headers_of(&lines)), ip("192.0.2.1"));
    }

    #[test]
    fn forwarded_counts_where_there_is_no_x_forwarded_for() {
        let forwarded = r#"for=203.0.113.1, For="[2001:db8:cafe::17]:4711";proto=https;by=10.0.0.1"#;
        assert_eq!(client("fd00::1", &[("forwarded", forwarded)]), ip("2001:db8:cafe::17"));
        let both = [("forwarded", "for=203.0.113.1"), (X_FORWARDED_FOR, "192.0.2.1")];
        assert_eq!(client("10.0.0.1", &both), ip("192.0.2.1"), "the header that most proxies write wins");
        assert_eq!(client("10.0.0.1", &[("forwarded", "for=unknown")]), ip("10.0.0.1"));
    }

    #[test]
    fn a_chain_without_end_is_cut() {
        let many = vec!["10.1.1.1"; 10_000].join(",");
        assert_eq!(client("10.0.0.1", &[(X_FORWARDED_FOR, &format!("192.0.2.1,{many}"))]), ip("10.1.1.1"));
    }

    #[test]
    fn networks_are_read_and_written() {
        for (text, shown) in [("10.0.0.0/8", "10.0.0.0/8"), ("192.0.2.1", "192.0.2.1/32"), ("::1", "::1/128")] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), shown);
            assert_eq!(shown.parse::<Network>(), text.parse());
        }
        for text in ["", "10.0.0.0/33", "10.0.0.0/", "example.org", "10.0.0/8", "/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_of_one_customer_is_one_client() {
        assert_eq!(client_network(ip("2001:db8::1")), client_network(ip("2001:db8::ffff:0:0:2")));
        assert_ne!(client_network(ip("2001:db8::1")), client_network(ip("2001:db8:0:1::1")));
        assert_eq!(client_network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
        assert_ne!(client_network(ip("127.0.0.1")), client_network(ip("127.0.0.2")));
    }

    proptest! {
        #[test]
        fn no_header_panics_or_hides_an_untrusted_peer(
            name in prop::sample::select(vec![X_FORWARDED_FOR, "forwarded"]),
            value in "[ -~]{0,60}|(for=|\"|;|,|=|\\\\|[0-9a-f.:\\[\\]]){0,30}",
        ) {
            let headers = headers_of(&[(HeaderName::from_static(name), value.parse().unwrap())]);
            prop_assert_eq!(trusted().client(ip("192.0.2.1"), &headers), ip("192.0.2.1"));
            let _ = trusted().client(ip("10.0.0.1"), &headers);
        }

        #[test]
        fn what_the_client_writes_does_not_change_its_address(
            name in prop::sample::select(vec![X_FORWARDED_FOR, "forwarded"]),
            written in "[ -~]{0,40}|(for=|\"|;|,|\\\\){0,20}",
            no_text in prop::collection::vec(0x80_u8.., 0..4),
        ) {
            let own: &[u8] = if name == "forwarded" { b", for=192.0.2.1" } else { b", 192.0.2.1" };
            let value = HeaderValue::from_bytes(&[written.as_bytes(), &no_text, own].concat()).unwrap();
            let headers = headers_of(&[(HeaderName::from_static(name), value)]);
            prop_assert_eq!(trusted().client(ip("10.0.0.1"), &headers), ip("192.0.2.1"));
        }
    }
}
