//! What the writer tells those who place content: how much lacks a place, what began to, and when things changed.
//!
//! Only a catalog that was opened with [`super::CatalogOptions::placement`] has it; any other pays nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use super::index::source::Source;
use super::index::{Fault, Index, placing};
use crate::catalog::fact::Fact;
use crate::catalog::placement::{Backlog, Wanted};
use crate::oci::Digest;

/// Digests that began to lack a place and that nobody has taken up yet; those above it are found by a scan.
const NEWS: usize = 1024;
/// Digests looked at between two breaths of a count.
const LOOKS: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Placing {
    pub(super) wanted: Wanted,
    backlog: Mutex<Backlog>,
    news: mpsc::Sender<Digest>,
    receiver: Mutex<Option<mpsc::Receiver<Digest>>>,
    missed: AtomicBool,
    changed: watch::Sender<u64>,
}

/// What a batch does to the backlog.
#[derive(Debug, Default)]
pub(super) struct BacklogChange {
    /// Digests that lack a place from now on.
    began: Vec<(Digest, u64)>,
    /// Sizes of those that no longer do.
    ended: Vec<u64>,
    touched: bool,
}

impl Placing {
    /// Counts what there is.
    pub(super) fn new(wanted: Wanted, index: &Index) -> Result<Self, Fault> {
        let backlog = Mutex::new(count(index, &wanted)?);
        let (news, receiver) = mpsc::channel(NEWS);
        let (receiver, missed) = (Mutex::new(Some(receiver)), AtomicBool::new(true));
        Ok(Placing { wanted, backlog, news, receiver, missed, changed: watch::Sender::new(0) })
    }

    /// Compares how the digests of these facts stand in the index with how they will.
    pub(super) fn compare(&self, index: &Index, after: &impl Source, facts: &[Fact]) -> Result<BacklogChange, Fault> {
        let mut change = BacklogChange::default();
        for digest in facts.iter().filter_map(concerned).collect::<BTreeSet<_>>() {
            change.touched = true;
            let before = placing::lacking(index, digest, &self.wanted)?;
            match (before, placing::lacking(after, digest, &self.wanted)?) {
                (None, Some(size)) => change.began.push((digest.clone(), size)),
                (Some(size), None) => change.ended.push(size),
                _ => {}
            }
        }
        Ok(change)
    }

    /// The batch is applied.
    pub(super) fn publish(&self, change: BacklogChange, sequence: u64) {
        {
            let mut backlog = self.lock();
            backlog.count = (backlog.count + change.began.len() as u64).saturating_sub(change.ended.len() as u64);
            let began: u64 = change.began.iter().map(|(_, size)| size).sum();
            backlog.bytes = (backlog.bytes + began).saturating_sub(change.ended.iter().sum());
        }
        for (digest, _) in change.began {
            if self.news.try_send(digest).is_err() {
                self.missed.store(true, Ordering::Release);
            }
        }
        if change.touched {
            self.changed.send_replace(sequence);
        }
    }

    /// Another index is in use: counts anew.
    pub(super) fn recount(&self, index: &Index, sequence: u64) -> Result<(), Fault> {
        *self.lock() = count(index, &self.wanted)?;
        self.missed.store(true, Ordering::Release);
        self.changed.send_replace(sequence);
        Ok(())
    }

    pub(super) fn backlog(&self) -> Backlog {
        *self.lock()
    }

    /// Those who ask first get it.
    pub(super) fn take_news(&self) -> Option<mpsc::Receiver<Digest>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// True once after news were lost, and once at the start.
    pub(super) fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::AcqRel)
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts what lacks a place by looking at all that is held.
pub(super) fn count(source: &impl Source, wanted: &Wanted) -> Result<Backlog, Fault> {
    let (mut backlog, mut after) = (Backlog::default(), None);
    loop {
        let page = placing::held_page(source, wanted, after.as_ref(), LOOKS, Wanted::is_met)?;
        backlog.count += page.items.len() as u64;
        backlog.bytes += page.items.iter().map(|item| item.size).sum::<u64>();
        after = page.next;
        if after.is_none() {
            return Ok(backlog);
        }
    }
}

/// The content whose holders or places a fact changes.
fn concerned(fact: &Fact) -> Option<&Digest> {
    match fact {
        Fact::BlobLinked { digest, .. }
        | Fact::BlobUnlinked { digest, .. }
        | Fact::ManifestStored { digest, .. }
        | Fact::ManifestDeleted { digest, .. }
        | Fact::UnitRoots { list: digest, .. }
        | Fact::Placed { digest, .. }
        | Fact::Unplaced { digest, .. }
        | Fact::UnpinPending { digest, .. } => Some(digest),
        Fact::Repository { .. } | Fact::TagSet { .. } | Fact::TagDeleted { .. } => None,
    }
}
