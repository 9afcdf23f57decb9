//! Commands about where content is besides here.
//!
//! Why a delete, a push of the same content and a late unpin never lose data:
//!
//! - The facts that take content from its last holder stand in one batch with an `UnpinPending` of each place it has: no
//!   crash leaves a place that nobody knows.
//! - What is to be removed does not count as placed. So content that is pushed again meanwhile is uploaded again, and its
//!   `Placed` says when it took the place of an `UnpinPending`: whoever evicts waits for a reading back some time after.
//! - What a worker did about one state of affairs is recorded only if that very one still stands, told by its sequence.
//! - An acknowledgement that comes when nobody holds the content any more becomes an `UnpinPending` at once, a new one even
//!   where one stands: the backend may have answered that before the bytes came.

use super::check::{Batch, Rejection};
use super::index::{placing, queries};
use crate::catalog::command::Refusal;
use crate::catalog::fact::{Fact, Locator};
use crate::oci::Digest;

/// Longest kind, profile or address, and longest URL of an endpoint, in bytes.
const LONGEST_TEXT: usize = 2048;
/// Most endpoints of one locator.
const MAX_ENDPOINTS: usize = 64;

impl Batch<'_> {
    pub(super) fn record_unit_roots(&mut self, digest: &Digest, list: &Digest, units: u64) -> Result<(), Rejection> {
        let known = placing::unit_roots(&self.view, digest)?;
        let same = known.as_ref().is_some_and(|known| known.list == *list && known.units == units);
        if same || units == 0 || !queries::is_held(&self.view, digest)? {
            return Ok(());
        }
        if let Some(wrong) = known {
            // It was made of a damaged file. It goes as if its content did, with its places.
            self.record(Fact::UnitRoots { digest: digest.clone(), list: wrong.list, units: 0 })?;
        }
        self.record(Fact::UnitRoots { digest: digest.clone(), list: list.clone(), units })
    }

    pub(super) fn record_placed(&mut self, digest: &Digest, locator: &Locator) -> Result<(), Rejection> {
        check_locator(locator)?;
        let standing = placing::placement(&self.view, digest, locator)?;
        if !queries::is_held(&self.view, digest)? {
            return self.record(Fact::UnpinPending { digest: digest.clone(), locator: locator.clone() });
        }
        let (read_back, after_unpin) = match standing {
            Some(standing) if standing.unpin_pending => (false, Some(self.first.time)),
            Some(standing) if standing.locator == *locator => return Ok(()),
            // Other endpoints have it: what was read back stays so.
            Some(standing) => (standing.read_back, standing.after_unpin),
            None => (false, None),
        };
        self.record(Fact::Placed { digest: digest.clone(), locator: locator.clone(), read_back, after_unpin })
    }

    pub(super) fn record_abandoned(&mut self, digest: &Digest, locator: &Locator) -> Result<(), Rejection> {
        check_locator(locator)?;
        if queries::is_held(&self.view, digest)? {
            return Ok(());
        }
        self.record(Fact::UnpinPending { digest: digest.clone(), locator: locator.clone() })
    }

    pub(super) fn record_read_back(
        &mut self,
        digest: &Digest,
        locator: &Locator,
        placed: u64,
    ) -> Result<(), Rejection> {
        let Some(standing) = placing::placement(&self.view, digest, locator)? else { return Ok(()) };
        let as_was_read = standing.sequence == placed && !standing.unpin_pending && !standing.read_back;
        if !as_was_read || !queries::is_held(&self.view, digest)? {
            return Ok(());
        }
        let locator = standing.locator;
        self.record(Fact::Placed { digest: digest.clone(), locator, read_back: true, after_unpin: None })
    }

    pub(super) fn record_unplaced(
        &mut self,
        digest: &Digest,
        locator: &Locator,
        standing: u64,
    ) -> Result<(), Rejection> {
        match placing::placement(&self.view, digest, locator)? {
            Some(found) if found.sequence == standing => {
                self.record(Fact::Unplaced { digest: digest.clone(), locator: found.locator })
            }
            _ => Ok(()),
        }
    }

    /// What the facts from `start` on took from its last holder, with what only that needed: its list of unit roots and
    /// its places.
    pub(super) fn release_orphans(&mut self, start: usize) -> Result<Vec<Digest>, Rejection> {
        let mut orphaned = self.orphans(start)?;
        // A list of roots may have been pushed as content too, and a list may have a list: each is looked at once.
        let mut looked_at = 0;
        while let Some(digest) = orphaned.get(looked_at).cloned() {
            looked_at += 1;
            if let Some(roots) = placing::unit_roots(&self.view, &digest)? {
                let list = roots.list.clone();
                self.record(Fact::UnitRoots { digest: digest.clone(), list: roots.list, units: 0 })?;
                if !orphaned.contains(&list) && !queries::is_held(&self.view, &list)? {
                    orphaned.push(list);
                }
            }
            for placement in placing::placements(&self.view, &digest, usize::MAX)? {
                if !placement.unpin_pending {
                    self.record(Fact::UnpinPending { digest: digest.clone(), locator: placement.locator })?;
                }
            }
        }
        Ok(orphaned)
    }
}

fn check_locator(locator: &Locator) -> Result<(), Refusal> {
    let named = !locator.kind.is_empty() && !locator.address.is_empty() && !locator.codec.is_empty();
    let texts = [&locator.kind, &locator.profile, &locator.address, &locator.codec];
    let good = |text: &String| text.len() <= LONGEST_TEXT && !text.contains('\0');
    let endpoints = locator.endpoints.len() <= MAX_ENDPOINTS && locator.endpoints.iter().all(good);
    if named && texts.into_iter().all(good) && endpoints { Ok(()) } else { Err(Refusal::LocatorInvalid) }
}
