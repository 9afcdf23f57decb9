//! Values that are read and never printed.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// The text printed in place of a secret.
const SHOWN: &str = "(secret)";

/// A URL for messages, without what may be secret in it: user, password and query.
pub(super) fn shown_url(url: &str) -> String {
    let scheme = url.find("://").map_or(0, |colon| colon + 3);
    let (start, rest) = match url.rfind('@') {
        Some(at) => (format!("{}{SHOWN}@", url.get(..scheme.min(at)).unwrap_or_default()), &url[at + 1..]),
        None => (String::new(), url),
    };
    match rest.find(['?', '#']) {
        Some(end) => format!("{start}{}…", &rest[..end]),
        None => start + rest,
    }
}

/// A text that is never printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True if it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // An empty secret is shown as empty.
        serializer.serialize_str(if self.is_empty() { "" } else { SHOWN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for (url, shown) in [
            ("http://a.example:1/x", "http://a.example:1/x"),
            ("http://u:s3cret@a.example", "http://(secret)@a.example"),
            ("http://u:s3cret@x?y@a.example", "http://(secret)@a.example"),
            ("http://a.example/?key=s3cret", "http://a.example/…"),
            ("u:s3cret@a", "(secret)@a"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
    }
}
