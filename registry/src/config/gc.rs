//! `[gc]`: when unreferenced content is collected.

use serde::{Deserialize, Serialize};

use super::TimeSpan;
use super::validate::Faults;

/// Times of garbage collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gc {
    /// Time that an unreferenced blob is kept after its last upload, mount or existence check, or after a start of the
    /// node.
    ///
    /// Existence checks and open sessions can extend it to seven times its length, and at least to an hour.
    pub grace: TimeSpan,
    /// Time from the end of one collection to the start of the next. 0: only `skyberth gc` collects.
    pub interval: TimeSpan,
    /// Time without a new byte after which an upload session is dropped.
    pub upload_expiry: TimeSpan,
}

impl Default for Gc {
    fn default() -> Self {
        let day = TimeSpan::from_secs(24 * 3600);
        Gc { grace: day, interval: TimeSpan::from_secs(3600), upload_expiry: day }
    }
}

impl Gc {
    pub(super) fn validate(&self, faults: &mut Faults) {
        faults.not_zero("gc.upload_expiry", self.upload_expiry);
    }
}
