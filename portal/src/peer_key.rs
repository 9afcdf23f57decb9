//! The API key of this portal at other portals.

use http::HeaderValue;

/// The API key of this portal at its peers; none if they require none.
#[derive(Clone, Debug, Default)]
pub struct PeerKey(Option<HeaderValue>);

impl PeerKey {
    /// A key in plain text. A key that is invalid in a header counts as none.
    pub fn new(key: &str) -> Self {
        let value = HeaderValue::from_str(key).ok().filter(|value| !value.is_empty());
        PeerKey(value.map(|mut value| {
            // This hides it in logs.
            value.set_sensitive(true);
            value
        }))
    }

    /// The header's value, if there is a key.
    pub(crate) fn header(&self) -> Option<&HeaderValue> {
        self.0.as_ref()
    }
}
