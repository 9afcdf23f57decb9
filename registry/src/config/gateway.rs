//! `[gateway]`: the read-only portal for what anonymous clients may pull.

use serde::{Deserialize, Serialize};

use super::OptionalAddress;
use super::validate::Faults;

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

impl Gateway {
    pub(super) fn validate(&self, faults: &mut Faults) {
        faults.url("gateway.url", &self.url);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
