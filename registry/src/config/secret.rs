//! Values that are read and never shown again.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// What stands for a secret wherever the configuration is shown.
const SHOWN: &str = "(secret)";

/// A text that only its user sees.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True if there is none.
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
        // That there is none may be seen.
        serializer.serialize_str(if self.is_empty() { "" } else { SHOWN })
    }
}
