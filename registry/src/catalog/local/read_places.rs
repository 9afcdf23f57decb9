//! Reads of the catalog about copies of content. They behave like the reads in `read`.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::index::places;
use super::{Catalog, backlog as local};
use crate::catalog::command::ReadError;
use crate::catalog::fact::Locator;
use crate::catalog::page::Page;
use crate::catalog::places::{Backlog, Elsewhere, LackingPage, Placement, UnitRootsList, Wanted};
use crate::oci::Digest;

/// Most placements returned for one digest. A node has one backend, and few others over its life.
const MAX_PLACEMENTS: usize = 256;

/// Most digests returned for one list: content may have one digest per algorithm.
const MAX_LISTED: usize = 16;

impl Catalog {
    /// The placements of content, including those with a pending unpin.
    pub fn placements(&self, digest: &Digest) -> Result<Vec<Placement>, ReadError> {
        self.read(|index| places::placements(index, digest, MAX_PLACEMENTS))
    }

    /// The placements that content can be read from, read-back ones first. None without [`Catalog::wanted`].
    pub fn standing_places(&self, digest: &Digest) -> Result<Vec<Placement>, ReadError> {
        let Some(wanted) = self.wanted() else { return Ok(Vec::new()) };
        let mut placements = self.placements(digest)?;
        placements.retain(|placement| wanted.counts(placement) > 0);
        placements.sort_by_key(|placement| !wanted.is_read_back(placement));
        Ok(placements)
    }

    /// The list of unit roots of content; `None` if it is unknown.
    pub fn unit_roots(&self, digest: &Digest) -> Result<Option<UnitRootsList>, ReadError> {
        self.read(|index| places::unit_roots(index, digest))
    }

    /// The content whose unit roots this list contains: the same bytes under each of their digests.
    pub fn listed(&self, list: &Digest) -> Result<Vec<Digest>, ReadError> {
        self.read(|index| places::listed(index, list, MAX_LISTED))
    }

    /// The length of content; `None` if it is unreferenced.
    pub fn referenced_size(&self, digest: &Digest) -> Result<Option<u64>, ReadError> {
        self.read(|index| places::referenced_size(index, digest))
    }

    /// Up to `limit` referenced digests after `after`, in a fixed order. Fewer means the end.
    pub fn referenced_after(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>, ReadError> {
        self.read(|index| places::referenced_after(index, after, limit))
    }

    /// True if content is a list of unit roots and nothing else references it.
    pub fn is_only_a_list(&self, digest: &Digest) -> Result<bool, ReadError> {
        self.read(|index| places::is_only_a_list(index, digest))
    }

    /// True if content may be read somewhere without credentials. Other content is never placed unencrypted.
    pub fn is_public(&self, digest: &Digest) -> Result<bool, ReadError> {
        self.read(|index| places::is_public(index, digest))
    }

    /// Placements with a pending unpin after `after`, in the order of digest and locator.
    pub fn pending_unpins(
        &self,
        after: Option<&(Digest, Locator)>,
        limit: usize,
    ) -> Result<Page<(Digest, Placement)>, ReadError> {
        self.read(|index| places::pending_unpins(index, after, limit))
    }

    /// When content counts as placed; `None` if this catalog has no backend.
    pub fn wanted(&self) -> Option<Arc<Wanted>> {
        self.inner.shared.counter.as_ref().map(local::BacklogCounter::wanted)
    }

    /// Lets other copies count from soon on. All content is counted again, and [`Catalog::placement_changes`] tells.
    /// No effect without [`Catalog::wanted`], nor in a catalog that was opened only to read.
    pub fn want(&self, wanted: Wanted) {
        if let Some(counter) = &self.inner.shared.counter {
            counter.want(wanted);
            self.inner.queue.wake();
        }
    }

    /// Examines up to `looks` referenced digests after `after`, and returns those that lack a copy. Empty without
    /// [`Catalog::wanted`].
    pub fn lacking(&self, after: Option<&Digest>, looks: usize) -> Result<LackingPage, ReadError> {
        self.referenced_page(after, looks, Wanted::is_met)
    }

    /// Like [`Catalog::lacking`], but also returns content whose copies are not yet safe to rely on.
    pub fn unsettled(&self, after: Option<&Digest>, looks: usize) -> Result<LackingPage, ReadError> {
        self.referenced_page(after, looks, Wanted::is_safe)
    }

    fn referenced_page(
        &self,
        after: Option<&Digest>,
        looks: usize,
        enough: places::Enough,
    ) -> Result<LackingPage, ReadError> {
        match self.wanted() {
            Some(wanted) => self.read(|index| places::referenced_page(index, &wanted, after, looks, enough)),
            None => Ok(LackingPage { items: Vec::new(), next: None }),
        }
    }

    /// The length of referenced content that lacks a copy; `None` for other content.
    pub fn is_lacking(&self, digest: &Digest) -> Result<Option<u64>, ReadError> {
        match self.wanted() {
            Some(wanted) => self.read(|index| places::lacking(index, digest, &wanted)),
            None => Ok(None),
        }
    }

    /// How much content lacks a copy, by the running count.
    pub fn backlog(&self) -> Backlog {
        self.inner.shared.counter.as_ref().map_or_else(Backlog::default, local::BacklogCounter::backlog)
    }

    /// Number of pieces of content without a safe placement, by the running count: those in the backlog, and those
    /// acknowledged but not read back.
    pub fn unsettled_count(&self) -> u64 {
        self.inner.shared.counter.as_ref().map_or(0, local::BacklogCounter::unsettled)
    }

    /// Number of pieces of content with a safe placement that would be lost with this machine, by the running count.
    pub fn only_here_count(&self) -> u64 {
        self.inner.shared.counter.as_ref().map_or(0, local::BacklogCounter::only_here)
    }

    /// Number of pieces of content that are missing at an endpoint that had them, by the running count.
    pub fn missing_count(&self) -> u64 {
        self.inner.shared.counter.as_ref().map_or(0, local::BacklogCounter::missing)
    }

    /// The backlog, counted again to check [`Catalog::backlog`].
    pub fn recount_backlog(&self) -> Result<Backlog, ReadError> {
        match self.wanted() {
            Some(wanted) => self.read(|index| Ok(local::count(index, &wanted)?.backlog)),
            None => Ok(Backlog::default()),
        }
    }

    /// The number of unsettled pieces of content, counted again to check [`Catalog::unsettled_count`].
    pub fn recount_unsettled(&self) -> Result<u64, ReadError> {
        match self.wanted() {
            Some(wanted) => self.read(|index| Ok(local::count(index, &wanted)?.unsettled)),
            None => Ok(0),
        }
    }

    /// Records of endpoints that do not count, by the running count.
    pub fn elsewhere(&self) -> Elsewhere {
        self.inner.shared.counter.as_ref().map_or_else(Elsewhere::default, local::BacklogCounter::elsewhere)
    }

    /// The records of endpoints that do not count, counted again to check [`Catalog::elsewhere`].
    pub fn recount_elsewhere(&self) -> Result<Elsewhere, ReadError> {
        match self.wanted() {
            Some(wanted) => self.read(|index| Ok(local::count(index, &wanted)?.elsewhere)),
            None => Ok(Elsewhere::default()),
        }
    }

    /// Receives content that begins to lack a copy; `None` for all but the first caller.
    pub fn take_placement_news(&self) -> Option<mpsc::Receiver<Digest>> {
        self.inner.shared.counter.as_ref()?.take_news()
    }

    /// Lets placement look at content at once that has a local file from now on, if it lacks a copy.
    pub fn place_soon(&self, digest: &Digest) {
        let Some(counter) = &self.inner.shared.counter else { return };
        if let Ok(Some(_)) = self.is_lacking(digest) {
            counter.tell(digest.clone());
        }
    }

    /// True once after news were lost, and once after the start. A scan finds the content that they were about.
    pub fn missed_placement_news(&self) -> bool {
        self.inner.shared.counter.as_ref().is_some_and(local::BacklogCounter::take_missed)
    }

    /// Notified when references or placements of any content change; `None` without [`Catalog::wanted`].
    pub fn placement_changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.inner.shared.counter.as_ref()?.changes())
    }
}
