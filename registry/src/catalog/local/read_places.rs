//! Reads of the catalog about where content is. What is said of other reads in `read` holds for these.

use tokio::sync::{mpsc, watch};

use super::index::placing;
use super::{Catalog, placing as local};
use crate::catalog::command::ReadError;
use crate::catalog::fact::Locator;
use crate::catalog::page::Page;
use crate::catalog::placement::{Backlog, Elsewhere, LackingPage, Placement, UnitRootsList, Wanted};
use crate::oci::Digest;

/// Places of one digest that are answered at most: a node has one backend, and few more in its life.
const MAX_PLACEMENTS: usize = 256;

/// Digests of the same bytes that are answered at most: there is one for each algorithm.
const MAX_LISTED: usize = 16;

impl Catalog {
    /// The places of content, those included that it is to be removed from.
    pub fn placements(&self, digest: &Digest) -> Result<Vec<Placement>, ReadError> {
        self.read(|index| placing::placements(index, digest, MAX_PLACEMENTS))
    }

    /// The list of unit roots of content, if it is known.
    pub fn unit_roots(&self, digest: &Digest) -> Result<Option<UnitRootsList>, ReadError> {
        self.read(|index| placing::unit_roots(index, digest))
    }

    /// The content that this is the list of unit roots of: one piece of it under each of its digests.
    pub fn listed(&self, list: &Digest) -> Result<Vec<Digest>, ReadError> {
        self.read(|index| placing::listed(index, list, MAX_LISTED))
    }

    /// The length of content that somebody holds.
    pub fn held_size(&self, digest: &Digest) -> Result<Option<u64>, ReadError> {
        self.read(|index| placing::held_size(index, digest))
    }

    /// The digests that are held after one, in an order that stays, so many at most; fewer at the end.
    pub fn held_after(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>, ReadError> {
        self.read(|index| placing::held_after(index, after, limit))
    }

    /// True if content is held as a list of unit roots, and as nothing else.
    pub fn is_only_a_list(&self, digest: &Digest) -> Result<bool, ReadError> {
        self.read(|index| placing::is_only_a_list(index, digest))
    }

    /// True if content may be read without credentials somewhere; any other is never placed as it is.
    pub fn is_public(&self, digest: &Digest) -> Result<bool, ReadError> {
        self.read(|index| placing::is_public(index, digest))
    }

    /// Placements that are to be removed, in the order of digest and locator, those after one only.
    pub fn pending_unpins(
        &self,
        after: Option<&(Digest, Locator)>,
        limit: usize,
    ) -> Result<Page<(Digest, Placement)>, ReadError> {
        self.read(|index| placing::pending_unpins(index, after, limit))
    }

    /// When content counts as placed; `None` if this catalog was opened without saying so.
    pub fn wanted(&self) -> Option<&Wanted> {
        self.inner.shared.placing.as_ref().map(|placing| &placing.wanted)
    }

    /// Looks at up to `looks` digests that are held after `after`, for those that lack a place. Without
    /// [`Catalog::wanted`] nothing does.
    pub fn lacking(&self, after: Option<&Digest>, looks: usize) -> Result<LackingPage, ReadError> {
        self.held_page(after, looks, Wanted::is_met)
    }

    /// As [`Catalog::lacking`], for those as well that have a place and are not to be relied upon there yet.
    pub fn unsettled(&self, after: Option<&Digest>, looks: usize) -> Result<LackingPage, ReadError> {
        self.held_page(after, looks, Wanted::is_safe)
    }

    fn held_page(
        &self,
        after: Option<&Digest>,
        looks: usize,
        enough: placing::Enough,
    ) -> Result<LackingPage, ReadError> {
        match self.wanted() {
            Some(wanted) => self.read(|index| placing::held_page(index, wanted, after, looks, enough)),
            None => Ok(LackingPage { items: Vec::new(), next: None }),
        }
    }

    /// The length of content that is held and lacks a place; `None` of any other.
    pub fn is_lacking(&self, digest: &Digest) -> Result<Option<u64>, ReadError> {
        match self.wanted() {
            Some(wanted) => self.read(|index| placing::lacking(index, digest, wanted)),
            None => Ok(None),
        }
    }

    /// How much lacks a place, as it was counted along.
    pub fn backlog(&self) -> Backlog {
        self.inner.shared.placing.as_ref().map_or_else(Backlog::default, local::Placing::backlog)
    }

    /// How many pieces of content have no place to rely upon, as they were counted along: those of the backlog, and those
    /// that were acknowledged and not read back.
    pub fn unsettled_count(&self) -> u64 {
        self.inner.shared.placing.as_ref().map_or(0, local::Placing::unsettled)
    }

    /// The same as [`Catalog::backlog`], counted anew: for those who doubt it.
    pub fn recount_backlog(&self) -> Result<Backlog, ReadError> {
        match self.wanted() {
            Some(wanted) => self.read(|index| Ok(local::count(index, wanted)?.backlog)),
            None => Ok(Backlog::default()),
        }
    }

    /// The same as [`Catalog::unsettled_count`], counted anew.
    pub fn recount_unsettled(&self) -> Result<u64, ReadError> {
        match self.wanted() {
            Some(wanted) => self.read(|index| Ok(local::count(index, wanted)?.unsettled)),
            None => Ok(0),
        }
    }

    /// What is recorded at places that do not count, as it was counted along.
    pub fn elsewhere(&self) -> Elsewhere {
        self.inner.shared.placing.as_ref().map_or_else(Elsewhere::default, local::Placing::elsewhere)
    }

    /// The same, counted anew.
    pub fn recount_elsewhere(&self) -> Result<Elsewhere, ReadError> {
        match self.wanted() {
            Some(wanted) => self.read(|index| Ok(local::count(index, wanted)?.elsewhere)),
            None => Ok(Elsewhere::default()),
        }
    }

    /// What begins to lack a place; for the one who asks first.
    pub fn take_placement_news(&self) -> Option<mpsc::Receiver<Digest>> {
        self.inner.shared.placing.as_ref()?.take_news()
    }

    /// True once after news were lost, and once at the start: a scan finds what they would have told.
    pub fn missed_placement_news(&self) -> bool {
        self.inner.shared.placing.as_ref().is_some_and(local::Placing::take_missed)
    }

    /// Changes whenever holders or places of any content did; `None` without [`Catalog::wanted`].
    pub fn placement_changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.inner.shared.placing.as_ref()?.changes())
    }
}
