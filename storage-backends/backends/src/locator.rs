//! The location of content at a backend, in a portable form.

use serde::{Deserialize, Serialize};

/// The codec of bytes that are stored as they are.
pub const PLAIN: &str = "plain";

/// The location of stored bytes, sufficient for any other node to fetch them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locator {
    /// The kind of backend, such as `skynet`.
    pub kind: String,
    /// The layout to which the address belongs, such as `4MiB/1+4`; empty if there is only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub profile: String,
    /// The address within that kind, such as a skylink.
    pub address: String,
    /// The endpoints that had it when this was written, each by its [name](crate::Backend::endpoint).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// The encoding of the stored bytes; `plain` = unchanged.
    pub codec: String,
    /// Length of the stored bytes.
    pub stored_size: u64,
}

impl Locator {
    /// A locator of content that is stored as it is. It names no endpoint.
    pub fn plain(kind: &str, profile: &str, address: String, length: u64) -> Self {
        let (kind, profile) = (kind.to_owned(), profile.to_owned());
        Locator { kind, profile, address, endpoints: Vec::new(), codec: PLAIN.to_owned(), stored_size: length }
    }

    /// This locator at an endpoint, if it has a name.
    #[must_use]
    pub fn at(self, endpoint: Option<String>) -> Self {
        Locator { endpoints: endpoint.into_iter().collect(), ..self }
    }

    /// True if both name the same bytes in the same way, at any endpoints.
    pub fn same_place(&self, other: &Locator) -> bool {
        let place = |locator: &Locator| {
            let Locator { kind, profile, address, codec, stored_size, endpoints: _ } = locator.clone();
            (kind, profile, address, codec, stored_size)
        };
        place(self) == place(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locator(endpoints: &[&str]) -> Locator {
        Locator {
            kind: "skynet".into(),
            profile: "4MiB/1+4".into(),
            address: "AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA".into(),
            endpoints: endpoints.iter().map(ToString::to_string).collect(),
            codec: PLAIN.into(),
            stored_size: 1024,
        }
    }

    #[test]
    fn the_form_in_the_journal_is_kept() {
        let json = r#"{"kind":"skynet","profile":"4MiB/1+4","address":"AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA","endpoints":["http://a"],"codec":"plain","stored_size":1024}"#;
        assert_eq!(serde_json::to_string(&locator(&["http://a"])).unwrap(), json);
        assert_eq!(serde_json::from_str::<Locator>(json).unwrap(), locator(&["http://a"]));
        let least = Locator { profile: String::new(), ..locator(&[]) };
        let json = serde_json::to_string(&least).unwrap();
        assert!(!json.contains("profile") && !json.contains("endpoints"), "{json}");
        assert_eq!(serde_json::from_str::<Locator>(&json).unwrap(), least);
    }

    #[test]
    fn who_has_it_makes_no_other_place() {
        assert!(locator(&[]).same_place(&locator(&["http://a"])));
        assert!(!locator(&[]).same_place(&Locator { stored_size: 1025, ..locator(&[]) }));
    }
}
