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
    /// The endpoints that count, as locators name them; none, where they name none.
    pub endpoints: Vec<String>,
    /// How many of these must have acknowledged it; a locator without endpoints is one.
    pub copies: usize,
    /// Lists of unit roots are placed too; else the layout that the profile names has them in itself.
    pub lists: bool,
}

impl Wanted {
    /// Copies that a placement counts for. Those at endpoints that are not of this backend, or not any more, may be
    /// there for ever and gone tomorrow: nobody asks them.
    pub fn counts(&self, placement: &Placement) -> usize {
        match &placement.locator {
            _ if placement.unpin_pending => 0,
            locator if !self.is_mine(locator) => 0,
            locator if locator.endpoints.is_empty() => 1,
            locator => self.among(locator).len(),
        }
    }

    /// Those of a locator's endpoints that count.
    pub fn among(&self, locator: &Locator) -> Vec<String> {
        locator.endpoints.iter().filter(|endpoint| self.endpoints.contains(endpoint)).cloned().collect()
    }

    /// True if the backend of this node can be asked for it: it is of its kind and layout.
    pub fn is_mine(&self, locator: &Locator) -> bool {
        locator.kind == self.kind && locator.profile == self.profile
    }

    /// True if what a locator names can be removed by this backend, or some of it.
    pub fn reaches(&self, locator: &Locator) -> bool {
        self.is_mine(locator) && (locator.endpoints.is_empty() || !self.among(locator).is_empty())
    }

    /// True if a locator names endpoints that do not count.
    pub fn is_partly_elsewhere(&self, locator: &Locator) -> bool {
        !self.is_mine(locator) || self.among(locator).len() < locator.endpoints.len()
    }

    /// True if it was read back, and from an endpoint that counts.
    pub fn is_read_back(&self, placement: &Placement) -> bool {
        let from = match &placement.read_among[..] {
            [] => &placement.locator.endpoints[..],
            among => among,
        };
        placement.read_back && from.iter().all(|endpoint| self.endpoints.contains(endpoint))
    }

    /// True if these are enough.
    pub fn is_met(&self, placements: &[Placement]) -> bool {
        placements.iter().map(|placement| self.counts(placement)).sum::<usize>() >= self.copies
    }

    /// True if the local copy is not the only one to rely on: enough endpoints have it, one of them gave all of it back,
    /// and no removal that was once asked for can still be on its way.
    pub fn is_safe(&self, placements: &[Placement]) -> bool {
        let mut mine = placements.iter().filter(|placement| self.is_mine(&placement.locator));
        let settled = mine.clone().all(|placement| !placement.unpin_pending && placement.after_unpin.is_none());
        let relied_on = |placement: &Placement| self.counts(placement) > 0 && self.is_read_back(placement);
        settled && mine.any(relied_on) && self.is_met(placements)
    }
}

/// Content at a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Where.
    pub locator: Locator,
    /// It was read back whole and matched.
    pub read_back: bool,
    /// See [`crate::catalog::fact::Fact::Placed`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_among: Vec<String>,
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

/// What the records say of places that the backend of this node cannot reach: at portals that are not configured any
/// more, or of another kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Pieces of content that are held and have such a place, which does not count.
    pub content: u64,
    /// Pieces of content that are to be removed from such a place, which cannot be done.
    pub unpins: u64,
}

/// How much is held and not placed often enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Digests.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}
