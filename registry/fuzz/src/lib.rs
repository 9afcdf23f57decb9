//! What all programs do: run one of a crate's targets, the one that `FUZZ_TARGET` names.

use std::sync::OnceLock;

/// Runs the chosen target.
pub fn run(targets: &[(&str, fn(&[u8]))], bytes: &[u8]) {
    static CHOSEN: OnceLock<fn(&[u8])> = OnceLock::new();
    let target = CHOSEN.get_or_init(|| {
        let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let found = targets.iter().find(|(name, _)| *name == wanted);
        found.unwrap_or_else(|| panic!("FUZZ_TARGET names no target: {wanted:?}")).1
    });
    target(bytes);
}
