//! `[gateway]`: what anybody may pull, at its skylinks too.

use serde::{Deserialize, Serialize};
use storage_backends::skynet::profile::Profile;

use super::validate::Faults;
use super::{InvalidListenAddress, ListenAddress, Storage};
use crate::gateway;

/// A read-only portal beside the registry, over the same files. Its profile is `storage.skynet.profile`, so that content
/// has the skylinks that it has, or would have, at the portals of a `skynet` backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// Address with port; empty: there is none.
    pub listen: OptionalAddress,
    /// URL under which clients reach it, such as `https://gateway.example`; empty: the host that they asked.
    pub url: String,
}

/// A listening address, or none, written as an empty text.
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
    pub(super) fn validate(&self, storage: &Storage, faults: &mut Faults) {
        let is_url = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        if !self.url.is_empty() && (!is_url(&self.url) || self.url.ends_with('/')) {
            faults.add("gateway.url", "write a URL without a slash at its end, such as https://gateway.example");
        }
        let suits = storage.skynet.profile.parse::<Profile>().map_or(true, gateway::Gateway::suits);
        if self.listen.0.is_some() && !suits {
            let message = "a gateway serves profiles of 4 MiB sectors and one data piece, such as 4MiB/1+4";
            faults.add("storage.skynet.profile", message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(gateway: &str, storage: &str) -> Vec<String> {
        let gateway: Gateway = toml::from_str(gateway).unwrap();
        let storage: Storage = toml::from_str(storage).unwrap();
        let mut faults = Faults::default();
        gateway.validate(&storage, &mut faults);
        faults.0.into_iter().map(|fault| fault.key).collect()
    }

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
    fn a_gateway_has_a_profile_whose_units_are_known() {
        let other = "[skynet]\nprofile = \"4KiB/1+4\"";
        assert_eq!(faults("listen = \":9981\"", other), ["storage.skynet.profile"]);
        assert_eq!(faults("listen = \":9981\"", "[skynet]\nprofile = \"4MiB/10+20\""), ["storage.skynet.profile"]);
        assert!(faults("", other).is_empty() && faults("listen = \":9981\"", "").is_empty());
        assert_eq!(faults("url = \"https://a/\"", ""), ["gateway.url"]);
    }
}
