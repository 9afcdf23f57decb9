//! Targets for fuzzing: requests, and records from a disk that may have damaged them.

use crate::blocklist::BlockedHash;
use crate::media_type::{of_bytes, of_name};
use crate::{entries, http, tus};

#[cfg(test)]
#[path = "../../registry/fuzz/replay.rs"]
mod replay;

/// A name and what it does with an input. A fault is a panic.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[FuzzTarget] = &[
    ("blocklist", blocklist),
    ("download", http::fuzzing::download),
    ("entries", http::fuzzing::entries),
    ("entry-record", entries::fuzzing::record),
    ("media-type", http::fuzzing::media_type),
    ("multipart", http::fuzzing::multipart),
    ("request", http::fuzzing::request),
    ("restore", http::fuzzing::restore),
    ("sniffing", sniffing),
    ("tus-headers", tus::fuzzing::headers),
    ("tus-record", tus::fuzzing::record),
];

fn blocklist(bytes: &[u8]) {
    for line in String::from_utf8_lossy(bytes).lines() {
        if let Some(hash) = BlockedHash::parse(line) {
            assert_eq!(hash.to_hex(), line.to_ascii_lowercase());
        }
    }
}

fn sniffing(bytes: &[u8]) {
    assert!(of_bytes(bytes).contains('/'));
    assert!(of_name(&String::from_utf8_lossy(bytes)).is_none_or(|known| known.contains('/')));
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_file_of_the_corpora_breaks_its_target() {
        super::replay::replay(env!("CARGO_MANIFEST_DIR"), super::TARGETS);
    }
}
