//! The catalog's records of copies at a backend.

use serde::{Deserialize, Serialize};

use crate::catalog::fact::Locator;
use crate::oci::Digest;

/// The copies that this node wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The kind of backend, as in its locators.
    pub kind: String,
    /// The profile, as in its locators.
    pub profile: String,
    /// The endpoints that count, as locators name them. Empty if locators name none.
    pub endpoints: Vec<String>,
    /// Those of them that may be lost together with this machine.
    pub here: Vec<String>,
    /// Number of these endpoints that must have acknowledged the content. A locator without endpoints counts as one.
    pub copies: usize,
    /// True if lists of unit roots are placed, too. False if the profile's layout contains them.
    pub lists: bool,
}

impl Wanted {
    /// Number of copies that a placement counts for. Copies at endpoints that are not configured do not count: no one
    /// checks whether they still exist.
    pub fn counts(&self, placement: &Placement) -> usize {
        match &placement.locator {
            _ if placement.unpin_pending => 0,
            locator if !self.is_mine(locator) => 0,
            // Nobody has it any more.
            locator if locator.endpoints.is_empty() && !placement.missing.is_empty() => 0,
            locator if locator.endpoints.is_empty() => 1,
            locator => self.among(locator).len(),
        }
    }

    /// The endpoints of a locator that count.
    pub fn among(&self, locator: &Locator) -> Vec<String> {
        locator.endpoints.iter().filter(|endpoint| self.endpoints.contains(endpoint)).cloned().collect()
    }

    /// True if this node's backend can be asked for the copy: kind and profile match.
    pub fn is_mine(&self, locator: &Locator) -> bool {
        locator.kind == self.kind && locator.profile == self.profile
    }

    /// True if this backend can remove the copy from some of its endpoints.
    pub fn reaches(&self, locator: &Locator) -> bool {
        self.is_mine(locator) && (locator.endpoints.is_empty() || !self.among(locator).is_empty())
    }

    /// True if some endpoints of a locator do not count.
    pub fn is_partly_elsewhere(&self, locator: &Locator) -> bool {
        !self.is_mine(locator) || self.among(locator).len() < locator.endpoints.len()
    }

    /// True if an endpoint that counts had the copy, and does not have it any more.
    pub fn is_missing(&self, placement: &Placement) -> bool {
        let counts = |endpoint: &String| self.endpoints.contains(endpoint);
        !placement.unpin_pending && self.is_mine(&placement.locator) && placement.missing.iter().any(counts)
    }

    /// The endpoints to read a copy back from: those that count and are not lost with this machine, if there are such.
    pub fn readers(&self, locator: &Locator) -> Vec<String> {
        let among = self.among(locator);
        let away: Vec<String> = among.iter().filter(|endpoint| !self.here.contains(endpoint)).cloned().collect();
        if away.is_empty() { among } else { away }
    }

    /// True if the copy was read back from these endpoints.
    pub fn is_read_back(&self, placement: &Placement) -> bool {
        let from = match &placement.read_among[..] {
            [] => &placement.locator.endpoints[..],
            among => among,
        };
        let readers = self.readers(&placement.locator);
        placement.read_back && from.iter().all(|endpoint| readers.contains(endpoint))
    }

    /// True if these placements have enough copies.
    pub fn is_met(&self, placements: &[Placement]) -> bool {
        placements.iter().map(|placement| self.counts(placement)).sum::<usize>() >= self.copies
    }

    /// True if the node can do without the local file. Enough endpoints have a copy, one was read back whole, and no
    /// earlier removal request can still take effect.
    pub fn is_safe(&self, placements: &[Placement]) -> bool {
        let mut mine = placements.iter().filter(|placement| self.is_mine(&placement.locator));
        let settled = mine.clone().all(|placement| !placement.unpin_pending && placement.after_unpin.is_none());
        let relied_on = |placement: &Placement| self.counts(placement) > 0 && self.is_read_back(placement);
        settled && mine.any(relied_on) && self.is_met(placements)
    }

    /// True if the content survives the loss of this machine: it is safe, and a copy that was read back is not here.
    pub fn survives(&self, placements: &[Placement]) -> bool {
        let is_here = |placement: &Placement| {
            let readers = self.readers(&placement.locator);
            !readers.is_empty() && readers.iter().all(|endpoint| self.here.contains(endpoint))
        };
        let away =
            |placement: &Placement| self.counts(placement) > 0 && self.is_read_back(placement) && !is_here(placement);
        self.is_safe(placements) && placements.iter().any(away)
    }
}

/// A copy of content at a backend, as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Where the copy is.
    pub locator: Locator,
    /// True if it was read back whole and matched the digest.
    pub read_back: bool,
    /// See [`crate::catalog::fact::Fact::Placed`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_among: Vec<String>,
    /// See [`crate::catalog::fact::Fact::Placed`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// True if it must be removed there.
    pub unpin_pending: bool,
    /// See [`crate::catalog::fact::Fact::Placed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_unpin: Option<u64>,
    /// Sequence of the fact behind this record. It identifies this state, and no later one of the same locator.
    pub sequence: u64,
    /// Time of that fact, in milliseconds since the Unix epoch.
    pub time: u64,
}

impl Placement {
    /// Where all or a part of the copy may be: at its endpoints, and at those where it is missing.
    pub fn anywhere(&self) -> Locator {
        let endpoints = self.locator.endpoints.iter().chain(&self.missing).cloned().collect();
        Locator { endpoints, ..self.locator.clone() }
    }
}

/// The list of unit roots of some content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRootsList {
    /// The content file with the roots.
    pub list: Digest,
    /// Number of roots.
    pub units: u64,
}

/// Referenced content without enough copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// The digest.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
    /// True if it may be read somewhere without credentials. Otherwise it must not leave this node unencrypted.
    pub public: bool,
}

/// A page of content that lacks copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LackingPage {
    /// The content found.
    pub items: Vec<Lacking>,
    /// Where to continue, even if nothing was found; `None` at the end.
    pub next: Option<Digest>,
}

/// Records of endpoints that this node's backend cannot reach: portals that are no longer configured, or another kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Pieces of referenced content with such copies, which do not count.
    pub content: u64,
    /// Pieces of content to be removed there, which is impossible for now.
    pub unpins: u64,
}

/// How much referenced content lacks copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Number of digests.
    pub count: u64,
    /// Bytes of that content.
    pub bytes: u64,
}
