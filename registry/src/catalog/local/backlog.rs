//! The writer's news for placement: how much content lacks a copy, which content began to, and when placements changed.
//!
//! Only a catalog with [`super::CatalogOptions::placement`] has this. For others it costs nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::{mpsc, watch};

use super::index::source::Source;
use super::index::{Fault, Index, places, queries};
use crate::catalog::fact::{Fact, Locator, Visibility};
use crate::catalog::places::{Backlog, Elsewhere, Wanted};
use crate::oci::Digest;

/// Most digests in the channel of news. Those beyond it are found by a scan.
const NEWS: usize = 1024;
/// Pending unpins read per step of a count.
const LOOKS: usize = 1024;

/// The counts, the news, and the watch of changes.
#[derive(Debug)]
pub(super) struct BacklogCounter {
    wanted: RwLock<Arc<Wanted>>,
    /// What replaces it at the writer's next turn.
    next_wanted: Mutex<Option<Wanted>>,
    counted: Mutex<Counted>,
    news: mpsc::Sender<Digest>,
    receiver: Mutex<Option<mpsc::Receiver<Digest>>>,
    missed: AtomicBool,
    changed: watch::Sender<u64>,
}

/// The counts, updated with each batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) backlog: Backlog,
    /// Digests without a safe placement, including those of the backlog.
    pub(super) unsettled: u64,
    /// Digests with a safe placement that would be lost with this machine.
    pub(super) only_here: u64,
    /// Digests that are missing at an endpoint that had them.
    pub(super) missing: u64,
    pub(super) elsewhere: Elsewhere,
}

/// The change of the counts by a batch.
#[derive(Debug, Default)]
pub(super) struct BacklogChange {
    /// Digests that begin to lack a copy.
    began: Vec<(Digest, u64)>,
    /// Sizes of digests that no longer lack one.
    ended: Vec<u64>,
    /// Counts elsewhere of the digests concerned, before and after.
    elsewhere: (Elsewhere, Elsewhere),
    /// How many of them are unsettled, before and after.
    unsettled: (u64, u64),
    /// How many of them would be lost with this machine, before and after.
    only_here: (u64, u64),
    /// How many of them are missing somewhere, before and after.
    missing: (u64, u64),
    touched: bool,
    /// True if content may be placed that was not to be, since its repository is now public.
    opened: bool,
}

impl BacklogCounter {
    /// Counts the existing content.
    pub(super) fn new(wanted: Wanted, index: &Index) -> Result<Self, Fault> {
        let counted = Mutex::new(count(index, &wanted)?);
        let (news, receiver) = mpsc::channel(NEWS);
        let (receiver, missed) = (Mutex::new(Some(receiver)), AtomicBool::new(true));
        let (wanted, changed) = (RwLock::new(Arc::new(wanted)), watch::Sender::new(0));
        Ok(BacklogCounter { wanted, next_wanted: Mutex::new(None), counted, news, receiver, missed, changed })
    }

    /// When content counts as placed.
    pub(super) fn wanted(&self) -> Arc<Wanted> {
        Arc::clone(&self.wanted.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets other copies count, from the writer's next turn on.
    pub(super) fn want(&self, wanted: Wanted) {
        *self.next_wanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(wanted);
    }

    /// For the writer: lets other copies count, if that was asked for. All content is counted again.
    pub(super) fn follow_wanted(&self, index: &Index, sequence: u64) -> Result<(), Fault> {
        let next = self.next_wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(next) = next else { return Ok(()) };
        // The counts come first: readers that see what counts see its counts, too.
        *self.lock() = count(index, &next)?;
        *self.wanted.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next.clone());
        // Another wish may have come meanwhile.
        self.next_wanted.lock().unwrap_or_else(PoisonError::into_inner).take_if(|waiting| *waiting == next);
        self.missed.store(true, Ordering::Release);
        self.changed.send_replace(sequence);
        Ok(())
    }

    /// Compares the state of the digests in these facts, before and after them.
    pub(super) fn compare(&self, index: &Index, after: &impl Source, facts: &[Fact]) -> Result<BacklogChange, Fault> {
        let (mut change, wanted) = (BacklogChange::default(), self.wanted());
        for fact in facts {
            if let Fact::Repository { repository, visibility: Visibility::Public } = fact {
                change.opened |= queries::repository(index, repository)? == Some(Visibility::Private);
            }
        }
        for digest in facts.iter().filter_map(concerned).collect::<BTreeSet<_>>() {
            change.touched = true;
            let (before, after) = (places::stands(index, digest, &wanted)?, places::stands(after, digest, &wanted)?);
            change.unsettled.0 += u64::from(before.unsettled);
            change.unsettled.1 += u64::from(after.unsettled);
            change.only_here.0 += u64::from(before.only_here);
            change.only_here.1 += u64::from(after.only_here);
            change.missing.0 += u64::from(before.missing);
            change.missing.1 += u64::from(after.missing);
            change.elsewhere.0 = sum(change.elsewhere.0, before.elsewhere);
            change.elsewhere.1 = sum(change.elsewhere.1, after.elsewhere);
            match (before.lacking, after.lacking) {
                (None, Some(size)) => change.began.push((digest.clone(), size)),
                (Some(size), None) => change.ended.push(size),
                _ => {}
            }
        }
        Ok(change)
    }

    /// Applies a change after its batch was applied.
    pub(super) fn publish(&self, change: BacklogChange, sequence: u64) {
        {
            let mut counted = self.lock();
            let (before, after) = change.elsewhere;
            let elsewhere = sum(counted.elsewhere, after);
            counted.elsewhere = Elsewhere {
                content: elsewhere.content.saturating_sub(before.content),
                unpins: elsewhere.unpins.saturating_sub(before.unpins),
            };
            let (before, after) = change.unsettled;
            counted.unsettled = (counted.unsettled + after).saturating_sub(before);
            let (before, after) = change.only_here;
            counted.only_here = (counted.only_here + after).saturating_sub(before);
            let (before, after) = change.missing;
            counted.missing = (counted.missing + after).saturating_sub(before);
            let backlog = &mut counted.backlog;
            backlog.count = (backlog.count + change.began.len() as u64).saturating_sub(change.ended.len() as u64);
            let began: u64 = change.began.iter().map(|(_, size)| size).sum();
            backlog.bytes = (backlog.bytes + began).saturating_sub(change.ended.iter().sum());
        }
        for (digest, _) in change.began {
            self.tell(digest);
        }
        if change.opened {
            self.missed.store(true, Ordering::Release);
        }
        if change.touched || change.opened {
            self.changed.send_replace(sequence);
        }
    }

    /// Counts again, for a new index.
    pub(super) fn recount(&self, index: &Index, sequence: u64) -> Result<(), Fault> {
        *self.lock() = count(index, &self.wanted())?;
        self.missed.store(true, Ordering::Release);
        self.changed.send_replace(sequence);
        Ok(())
    }

    pub(super) fn backlog(&self) -> Backlog {
        self.lock().backlog
    }

    pub(super) fn unsettled(&self) -> u64 {
        self.lock().unsettled
    }

    pub(super) fn only_here(&self) -> u64 {
        self.lock().only_here
    }

    pub(super) fn missing(&self) -> u64 {
        self.lock().missing
    }

    pub(super) fn elsewhere(&self) -> Elsewhere {
        self.lock().elsewhere
    }

    /// News of content that something happened to.
    pub(super) fn tell(&self, digest: Digest) {
        if self.news.try_send(digest).is_err() {
            self.missed.store(true, Ordering::Release);
        }
    }

    /// The receiver of news, for the first caller only.
    pub(super) fn take_news(&self) -> Option<mpsc::Receiver<Digest>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// True once after news were lost, and once after the start.
    pub(super) fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::AcqRel)
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts by reading all referenced content and all pending unpins.
pub(super) fn count(source: &impl Source, wanted: &Wanted) -> Result<Counted, Fault> {
    let (mut counted, mut after) = (Counted::default(), None);
    while let Some(digest) = places::next_referenced(source, after.as_ref())? {
        let stands = places::stands(source, &digest, wanted)?;
        counted.backlog.count += u64::from(stands.lacking.is_some());
        counted.backlog.bytes += stands.lacking.unwrap_or_default();
        counted.unsettled += u64::from(stands.unsettled);
        counted.only_here += u64::from(stands.only_here);
        counted.missing += u64::from(stands.missing);
        counted.elsewhere.content += stands.elsewhere.content;
        after = Some(digest);
    }
    let mut after: Option<(Digest, Locator)> = None;
    loop {
        let page = places::pending_unpins(source, after.as_ref(), LOOKS)?;
        let stuck = page.items.iter().filter(|(_, placement)| !wanted.reaches(&placement.locator));
        counted.elsewhere.unpins += stuck.count() as u64;
        after = page.items.last().map(|(digest, placement)| (digest.clone(), placement.locator.clone()));
        if !page.more {
            return Ok(counted);
        }
    }
}

fn sum(one: Elsewhere, other: Elsewhere) -> Elsewhere {
    Elsewhere { content: one.content + other.content, unpins: one.unpins + other.unpins }
}

/// The content whose references or placements a fact changes.
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
