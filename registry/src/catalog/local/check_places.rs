//! Commands about copies of content at a backend.
//!
//! Why a delete, a push of the same content, and a late unpin never lose data:
//!
//! - The facts that remove the last reference to content share a batch with an `UnpinPending` for each of its copies.
//!   So no crash leaves a copy without a record.
//! - A copy with a pending unpin does not count as placed. Content that is pushed again meanwhile is uploaded again.
//!   Its `Placed` records when it replaced an `UnpinPending`. Eviction then waits for a read-back some time after that.
//! - A worker's result is recorded only if the record that it acted on is still in force, as identified by its
//!   sequence.
//! - A locator may name endpoints that are no longer configured. Their copies stay recorded and count again if they are
//!   configured again, unless they may have been removed. After any removal request, only endpoints written since then
//!   count. So a `Placed` inherits no endpoints from an `UnpinPending`, nor from its successors before a read-back. If
//!   only some endpoints answered a removal, it stays pending for the others.
//! - An acknowledgement for content that is unreferenced by now becomes an `UnpinPending`. It is recorded even if one
//!   is already pending: the backend may have answered that one before the bytes arrived.

use super::check::{Batch, Rejection};
use super::index::{places, queries};
use crate::catalog::Placement;
use crate::catalog::command::Refusal;
use crate::catalog::fact::{Fact, Locator};
use crate::oci::Digest;

/// Longest kind, profile, address, or URL of an endpoint, in bytes.
const LONGEST_TEXT: usize = 2048;
/// Most endpoints in one locator.
const MAX_ENDPOINTS: usize = 64;

impl Batch<'_> {
    pub(super) fn record_unit_roots(&mut self, digest: &Digest, list: &Digest, units: u64) -> Result<(), Rejection> {
        let known = places::unit_roots(&self.view, digest)?;
        let same = known.as_ref().is_some_and(|known| known.list == *list && known.units == units);
        if same || units == 0 || !queries::is_referenced(&self.view, digest)? {
            return Ok(());
        }
        if let Some(wrong) = known {
            // The known list came from a damaged file. It is removed with its copies, as if its content were.
            self.record(Fact::UnitRoots { digest: digest.clone(), list: wrong.list, units: 0 })?;
        }
        self.record(Fact::UnitRoots { digest: digest.clone(), list: list.clone(), units })
    }

    pub(super) fn record_placed(&mut self, digest: &Digest, locator: &Locator) -> Result<(), Rejection> {
        check_locator(locator)?;
        let standing = places::placement(&self.view, digest, locator)?;
        if !queries::is_referenced(&self.view, digest)? {
            return self.record_unpin(digest, locator);
        }
        let mut missing = standing.as_ref().map(|standing| standing.missing.clone()).unwrap_or_default();
        missing.retain(|endpoint| !locator.endpoints.contains(endpoint));
        let (locator, after_unpin) = match standing {
            Some(standing) if standing.unpin_pending => (locator.clone(), Some(self.first.time)),
            Some(standing) if standing.after_unpin.is_some() && standing.locator == *locator => return Ok(()),
            // Copies at the other endpoints may have been removed by now.
            Some(standing) if standing.after_unpin.is_some() => (locator.clone(), standing.after_unpin),
            Some(standing) => {
                let known = &standing.locator.endpoints;
                if locator.endpoints.iter().all(|endpoint| known.contains(endpoint)) {
                    return Ok(());
                }
                (with_endpoints_of(locator, &standing.locator), None)
            }
            None => (locator.clone(), None),
        };
        // A new endpoint does not inherit the read-back of the others.
        let (digest, read_among) = (digest.clone(), Vec::new());
        self.record(Fact::Placed { digest, locator, read_back: false, read_among, missing, after_unpin })
    }

    /// Records an unpin at the locator's endpoints, and at all those recorded before.
    fn record_unpin(&mut self, digest: &Digest, locator: &Locator) -> Result<(), Rejection> {
        let locator = match places::placement(&self.view, digest, locator)? {
            // A locator without endpoints means all.
            Some(standing) if standing.anywhere().endpoints.is_empty() => standing.locator,
            Some(standing) if !locator.endpoints.is_empty() => with_endpoints_of(locator, &standing.anywhere()),
            _ => locator.clone(),
        };
        self.record(Fact::UnpinPending { digest: digest.clone(), locator })
    }

    pub(super) fn record_abandoned(&mut self, digest: &Digest, locator: &Locator) -> Result<(), Rejection> {
        check_locator(locator)?;
        if queries::is_referenced(&self.view, digest)? {
            return Ok(());
        }
        self.record_unpin(digest, locator)
    }

    pub(super) fn record_read_back(
        &mut self,
        digest: &Digest,
        locator: &Locator,
        placed: u64,
        among: &[String],
    ) -> Result<(), Rejection> {
        let Some(standing) = places::placement(&self.view, digest, locator)? else { return Ok(()) };
        let news = !standing.read_back || standing.read_among != among;
        let as_was_read = standing.sequence == placed && !standing.unpin_pending && news;
        if !as_was_read || !queries::is_referenced(&self.view, digest)? {
            return Ok(());
        }
        let mut locator = standing.locator;
        // The other endpoints were not asked, so the removal may have taken their copies.
        if standing.after_unpin.is_some() && !among.is_empty() {
            locator.endpoints = among.to_vec();
        }
        let read_among = if among == locator.endpoints { Vec::new() } else { among.to_vec() };
        let (digest, missing) = (digest.clone(), standing.missing);
        self.record(Fact::Placed { digest, locator, read_back: true, read_among, missing, after_unpin: None })
    }

    pub(super) fn record_missing(
        &mut self,
        digest: &Digest,
        locator: &Locator,
        standing: u64,
    ) -> Result<(), Rejection> {
        let found = places::placement(&self.view, digest, locator)?;
        let found = found.filter(|found| found.sequence == standing && !found.unpin_pending);
        let Some(Placement { locator: mut left, read_back, read_among, mut missing, after_unpin, .. }) = found else {
            return Ok(());
        };
        let is_lost = |endpoint: &String| locator.endpoints.contains(endpoint);
        let read_from = if read_among.is_empty() { &left.endpoints } else { &read_among };
        let read_back = read_back && !read_from.iter().any(is_lost);
        let read_among = if read_back { read_among } else { Vec::new() };
        let lost: Vec<String> = left.endpoints.extract_if(.., |endpoint| is_lost(endpoint)).collect();
        if lost.is_empty() {
            return Ok(());
        }
        missing.extend(lost);
        missing.truncate(MAX_ENDPOINTS);
        let digest = digest.clone();
        self.record(Fact::Placed { digest, locator: left, read_back, read_among, missing, after_unpin })
    }

    pub(super) fn record_unplaced(
        &mut self,
        digest: &Digest,
        locator: &Locator,
        standing: u64,
    ) -> Result<(), Rejection> {
        let found = places::placement(&self.view, digest, locator)?.filter(|found| found.sequence == standing);
        let Some(found) = found else { return Ok(()) };
        let (digest, mut left) = (digest.clone(), found.locator.clone());
        left.endpoints.retain(|endpoint| !locator.endpoints.contains(endpoint));
        let none_left = left.endpoints.is_empty() && (found.missing.is_empty() || found.unpin_pending);
        self.record(match found {
            _ if none_left || locator.endpoints.is_empty() => Fact::Unplaced { digest, locator: found.locator },
            found if found.unpin_pending => Fact::UnpinPending { digest, locator: left },
            found if found.after_unpin.is_some() => Fact::Unplaced { digest, locator: found.locator },
            Placement { missing, .. } => {
                let (read_back, read_among) = (false, Vec::new());
                Fact::Placed { digest, locator: left, read_back, read_among, missing, after_unpin: None }
            }
        })
    }

    /// Content that the facts from `start` on left unreferenced. Also removes its list of unit roots, and records
    /// unpins of its copies.
    pub(super) fn release_orphans(&mut self, start: usize) -> Result<Vec<Digest>, Rejection> {
        let mut orphaned = self.orphans(start)?;
        // A list of roots may also be pushed as content, and so have a list of its own. Each digest is processed once.
        let mut looked_at = 0;
        while let Some(digest) = orphaned.get(looked_at).cloned() {
            looked_at += 1;
            if let Some(roots) = places::unit_roots(&self.view, &digest)? {
                let list = roots.list.clone();
                self.record(Fact::UnitRoots { digest: digest.clone(), list: roots.list, units: 0 })?;
                if !orphaned.contains(&list) && !queries::is_referenced(&self.view, &list)? {
                    orphaned.push(list);
                }
            }
            for placement in places::placements(&self.view, &digest, usize::MAX)? {
                if !placement.unpin_pending {
                    self.record(Fact::UnpinPending { digest: digest.clone(), locator: placement.anywhere() })?;
                }
            }
        }
        Ok(orphaned)
    }
}

/// The locator with the endpoints of another locator for the same address. Above the limit, the last endpoints of
/// `other` are left out.
fn with_endpoints_of(locator: &Locator, other: &Locator) -> Locator {
    let mut joined = locator.clone();
    let others = other.endpoints.iter().filter(|endpoint| !locator.endpoints.contains(endpoint));
    let room = MAX_ENDPOINTS.saturating_sub(joined.endpoints.len());
    joined.endpoints.extend(others.take(room).cloned());
    joined
}

fn check_locator(locator: &Locator) -> Result<(), Refusal> {
    let named = !locator.kind.is_empty() && !locator.address.is_empty() && !locator.codec.is_empty();
    let texts = [&locator.kind, &locator.profile, &locator.address, &locator.codec];
    let good = |text: &String| text.len() <= LONGEST_TEXT && !text.contains('\0');
    let endpoints = locator.endpoints.len() <= MAX_ENDPOINTS && locator.endpoints.iter().all(good);
    if named && texts.into_iter().all(good) && endpoints { Ok(()) } else { Err(Refusal::LocatorInvalid) }
}
