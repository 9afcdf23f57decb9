//! Addresses to listen on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The address of a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenAddress(pub SocketAddr);

impl ListenAddress {
    /// A port on the loopback address.
    pub(super) fn local(port: u16) -> Self {
        ListenAddress(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }
}

/// The error for text that is not an address with a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address with a port; write for example 127.0.0.1:5000, [::]:5000 or :5000")]
pub struct InvalidListenAddress(String);

impl FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.split_once(':') {
            Some(("", port)) => port.parse().ok().map(|port| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
            Some(("localhost", port)) => {
                port.parse().ok().map(|port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
            }
            _ => text.parse().ok(),
        };
        parsed.map(ListenAddress).ok_or_else(|| InvalidListenAddress(text.to_owned()))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = InvalidListenAddress;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> String {
        address.to_string()
    }
}

/// A listening address, or none, written as an empty string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OptionalAddress(pub Option<ListenAddress>);

impl TryFrom<String> for OptionalAddress {
    type Error = InvalidListenAddress;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() {
            Ok(OptionalAddress(None))
        } else {
            text.parse().map(|address| OptionalAddress(Some(address)))
        }
    }
}

impl From<OptionalAddress> for String {
    fn from(address: OptionalAddress) -> String {
        address.0.map_or_else(String::new, String::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_address_is_none() {
        let of = |text: &str| OptionalAddress::try_from(text.to_owned());
        assert_eq!(of("").unwrap().0, None);
        let address = of("127.0.0.1:9981").unwrap();
        assert_eq!(String::from(address), "127.0.0.1:9981");
        assert_eq!(String::from(OptionalAddress::default()), "");
        assert!(of("9981").is_err());
    }

    #[test]
    fn listen_addresses_need_a_port() {
        for (text, expected) in [
            (":5000", "0.0.0.0:5000"),
            ("localhost:80", "127.0.0.1:80"),
            ("[::]:5000", "[::]:5000"),
            ("10.0.0.1:0", "10.0.0.1:0"),
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), expected);
        }
        for text in ["", ":", "5000", "127.0.0.1", "::1", "example.org:80", ":65536", "http://127.0.0.1:80"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
