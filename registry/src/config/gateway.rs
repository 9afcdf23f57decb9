//! `[gateway]`: the read-only portal for what anonymous clients may pull.

use serde::{Deserialize, Serialize};

use super::validate::Faults;
use super::{InvalidListenAddress, ListenAddress};

/// A read-only portal beside the registry, over the same files. It uses the profile of `storage.skynet.profile`. So
/// content has the same skylinks here as at the portals of a `skynet` backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// Address and port of the read-only gateway of `skyberth serve`. Empty: there is none.
    pub listen: OptionalAddress,
    /// URL under which clients reach the gateway, such as `https://gateway.example`. Empty: the host of the request.
    pub url: String,
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

impl Gateway {
    pub(super) fn validate(&self, faults: &mut Faults) {
        faults.url("gateway.url", &self.url);
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
    fn a_url_is_written_as_it_is_answered() {
        let faults = |url: &str| {
            let mut faults = Faults::default();
            Gateway { url: url.to_owned(), ..Gateway::default() }.validate(&mut faults);
            faults.0.into_iter().map(|fault| fault.key).collect::<Vec<_>>()
        };
        assert!(faults("").is_empty() && faults("https://a").is_empty());
        assert_eq!(faults("https://a/"), ["gateway.url"]);
        assert_eq!(faults("a"), ["gateway.url"]);
    }
}
