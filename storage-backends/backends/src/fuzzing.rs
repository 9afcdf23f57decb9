//! Targets for fuzzing: answers of portals, and their addresses.

use crate::Locator;
use crate::skynet::{PortalUrl, fuzzing};

#[cfg(test)]
#[path = "../../../registry/fuzz/replay.rs"]
mod replay;

/// A name and what it does with an input. A fault is a panic.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[FuzzTarget] =
    &[("locators", locators), ("portal-answers", fuzzing::answers), ("portal-headers", fuzzing::headers)];

/// A URL from the configuration, and a locator from a journal or another node.
fn locators(bytes: &[u8]) {
    if let Some(url) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<PortalUrl>().ok()) {
        let written = url.to_string();
        assert_eq!(written.parse::<PortalUrl>().ok().map(|again| again.to_string()), Some(written));
    }
    if let Ok(locator) = serde_json::from_slice::<Locator>(bytes) {
        let written = serde_json::to_vec(&locator).expect("texts and numbers");
        assert_eq!(serde_json::from_slice(&written).ok(), Some(locator));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_file_of_the_corpora_breaks_its_target() {
        super::replay::replay(env!("CARGO_MANIFEST_DIR"), super::TARGETS);
    }
}
