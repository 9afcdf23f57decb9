//! Where content is beside this node, as the catalog tells it.

use serde::{Deserialize, Serialize};

use crate::catalog::fact::Locator;
use crate::oci::Digest;

/// When content counts as placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The kind of backend, as in its locators.
    pub kind: String,
    /// The profile, the same.
    pub profile: String,
    /// How many endpoints must have acknowledged it; a locator without endpoints is one.
    pub copies: usize,
    /// Lists of unit roots are placed too; else the layout that the profile names has them in itself.
    pub lists: bool,
}

impl Wanted {
    /// Copies that a placement counts for.
    pub fn counts(&self, placement: &Placement) -> usize {
        let locator = &placement.locator;
        let counts = !placement.unpin_pending && locator.kind == self.kind && locator.profile == self.profile;
        if counts { locator.endpoints.len().max(1) } else { 0 }
    }

    /// True if these are enough.
    pub fn is_met(&self, placements: &[Placement]) -> bool {
        placements.iter().map(|placement| self.counts(placement)).sum::<usize>() >= self.copies
    }

    /// True if the local copy is not the only one to rely on: enough endpoints have it, one of them gave all of it back,
    /// and no removal that was once asked for can still be on its way.
    pub fn is_safe(&self, placements: &[Placement]) -> bool {
        let here = |locator: &Locator| locator.kind == self.kind && locator.profile == self.profile;
        let mut mine = placements.iter().filter(|placement| here(&placement.locator));
        let settled = mine.clone().all(|placement| !placement.unpin_pending && placement.after_unpin.is_none());
        settled && mine.any(|placement| placement.read_back) && self.is_met(placements)
    }
}

/// Content at a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Where.
    pub locator: Locator,
    /// It was read back whole and matched.
    pub read_back: bool,
    /// It is to be removed there.
    pub unpin_pending: bool,
    /// See [`crate::catalog::fact::Fact::Placed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_unpin: Option<u64>,
    /// Of the fact that says so: it names this state of affairs, and no later one of the same locator.
    pub sequence: u64,
    /// When that was written, milliseconds since the Unix epoch.
    pub time: u64,
}

/// The list of unit roots of some content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRootsList {
    /// The content file with the roots.
    pub list: Digest,
    /// How many there are.
    pub units: u64,
}

/// Content that is held and not placed often enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// Which.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// Somebody may read it without credentials; else it must not leave this node as it is.
    pub public: bool,
}

/// A part of all that lacks a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LackingPage {
    /// What was found.
    pub items: Vec<Lacking>,
    /// Where to go on, although nothing may have been found; `None` at the end.
    pub next: Option<Digest>,
}

/// How much is held and not placed often enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Digests.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}
