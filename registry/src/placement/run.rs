//! The loop of placement: a scan at the start, then news, with pauses after failures.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::queue::{Queue, pause};
use super::trouble::Trouble;
use super::worker::{Next, look_at};
use super::{Remote, attempts, audit, eviction, identities, unpin};
use crate::catalog::LackingPage;
use crate::content::{Error, LocalContent};
use crate::oci::Digest;

/// Digests examined in one step of a scan.
const LOOKS: usize = 512;
/// Interval between two scans.
const BETWEEN_SCANS: Duration = Duration::from_mins(1);

/// Places all referenced content, until `stop`. Returns at once on a node without a backend.
pub async fn run(here: Arc<LocalContent>, remote: Arc<Remote>, stop: CancellationToken) {
    let Some(news) = here.catalog.take_placement_news() else { return };
    // The start asked the endpoints who they are.
    remote.follow(&here.catalog).await;
    let looks = (JoinSet::new(), HashMap::new());
    let (names, backend, end) = (Arc::clone(&here), Arc::clone(&remote), stop.clone());
    let mut placer = Placer { here, remote, stop, news, queue: Queue::default(), scan: Scan::At(None), looks };
    placer.settle_old().await;
    tokio::join!(
        placer.run(),
        unpin::run(&names, &backend, &end),
        eviction::run(&names, &backend, &end),
        identities::run(&names, &backend, &end),
        audit::run(&names, &backend, &end)
    );
}

/// The progress of a scan.
#[derive(Debug)]
enum Scan {
    /// It continues after this digest; `None`: at the beginning.
    At(Option<Digest>),
    /// It does not start before this time, and only if digests were left to it.
    Rests(Instant),
}

struct Placer {
    here: Arc<LocalContent>,
    remote: Arc<Remote>,
    stop: CancellationToken,
    news: mpsc::Receiver<Digest>,
    queue: Queue,
    scan: Scan,
    looks: (JoinSet<Result<Next, Trouble>>, HashMap<Id, Digest>),
}

impl Placer {
    async fn run(mut self) {
        // The first scan finds all content, including that of earlier news.
        let mut left_to_scan = false;
        let _ = self.here.catalog.missed_placement_news();
        while !self.stop.is_cancelled() {
            left_to_scan |= self.here.catalog.missed_placement_news() | self.queue.take_overflowed();
            if let Scan::Rests(until) = self.scan
                && left_to_scan
                && until <= Instant::now()
            {
                (self.scan, left_to_scan) = (Scan::At(None), false);
                self.settle_old().await;
            }
            if matches!(self.scan, Scan::At(_)) && self.queue.wants_more() {
                self.continue_scan().await;
            }
            self.begin_looks();
            self.wait(left_to_scan).await;
        }
        // Uploads are interrupted here, and continue at the next start.
        self.looks.0.shutdown().await;
    }

    /// Settles records of earlier uploads. A scan misses content deleted before it, although the backend may have parts
    /// of it.
    async fn settle_old(&mut self) {
        let looked_at = |digest: &Digest| self.queue.knows(digest);
        for digest in attempts::settle_old(&self.here, &self.remote, looked_at).await {
            self.queue.found(digest);
        }
    }

    async fn continue_scan(&mut self) {
        let Scan::At(after) = &mut self.scan else { return };
        let from = after.clone();
        let page = self.here.reading(move |catalog| Ok::<_, Error>(catalog.unsettled(from.as_ref(), LOOKS)?)).await;
        match page {
            Ok(LackingPage { items, next }) => {
                for item in items.into_iter().filter(|item| item.public || self.remote.settings.private) {
                    self.queue.found(item.digest);
                }
                self.scan = match next {
                    Some(next) => Scan::At(Some(next)),
                    None => Scan::Rests(Instant::now() + BETWEEN_SCANS),
                };
            }
            // The index is being rebuilt. After that the catalog reports missed news.
            Err(_) => self.scan = Scan::Rests(Instant::now() + self.remote.settings.first_pause),
        }
    }

    fn begin_looks(&mut self) {
        while self.looks.0.len() < self.remote.settings.transfers
            && let Some(digest) = self.queue.next(Instant::now())
        {
            let (here, remote, stop) = (Arc::clone(&self.here), Arc::clone(&self.remote), self.stop.clone());
            let name = digest.clone();
            let look = self.looks.0.spawn(async move { look_at(&here, &remote, &name, &stop).await });
            self.looks.1.insert(look.id(), digest);
        }
        self.remote.running.store(self.looks.0.len(), Ordering::Relaxed);
    }

    async fn wait(&mut self, left_to_scan: bool) {
        let now = Instant::now();
        let free = self.looks.0.len() < self.remote.settings.transfers;
        let due = self.queue.next_due().filter(|_| free);
        let scan = match &self.scan {
            Scan::At(_) => self.queue.wants_more().then_some(now),
            // News may be missed at any time.
            Scan::Rests(until) => Some((*until).max(now + if left_to_scan { Duration::ZERO } else { BETWEEN_SCANS })),
        };
        let until = due.into_iter().chain(scan).min();
        tokio::select! {
            () = self.stop.cancelled() => {}
            Some(ended) = self.looks.0.join_next_with_id() => self.end(ended),
            Some(digest) = self.news.recv() => self.queue.push(digest),
            () = self.remote.rescan.notified() => self.scan = Scan::At(None),
            () = tokio::time::sleep_until(until.unwrap_or(now)), if until.is_some() => {}
        }
    }

    fn end(&mut self, ended: Result<(Id, Result<Next, Trouble>), JoinError>) {
        let (id, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Err(error.into())),
        };
        let Some(digest) = self.looks.1.remove(&id) else { return };
        let now = Instant::now();
        match outcome {
            Ok(Next::Done) => {
                self.remote.set_trouble(None);
                self.queue.done(&digest);
            }
            Ok(Next::LookAt(time)) => {
                let wait = Duration::from_millis(time.saturating_sub(self.remote.clock.now_ms()));
                self.queue.again_at(digest, now + wait);
            }
            Err(Trouble::Local(Error::Stopped)) => {}
            Err(trouble) => {
                let wait = self.pause_after(&digest, &trouble);
                tracing::warn!(%digest, error = %trouble, again_in_ms = wait.as_millis() as u64, "content was not placed");
                self.remote.set_trouble(Some(trouble.to_string()));
                self.here.metrics.placement_failures.inc();
                self.queue.pause_until(digest, now + wait);
            }
        }
    }

    /// The pause after a failure. It is at least as long as the backend asks for.
    fn pause_after(&mut self, digest: &Digest, trouble: &Trouble) -> Duration {
        let settings = &self.remote.settings;
        let failures = self.queue.failed(digest);
        let longest = settings.longest_pause;
        let differs = matches!(trouble, Trouble::ReadBackDiffers | Trouble::Backend(_));
        // Failures that do not pass by themselves are retried rarely. Content that came back wrong is uploaded again
        // soon, but only a few times.
        let own = if trouble.is_passing() || (differs && failures < 3) {
            pause(failures, settings.first_pause, longest)
        } else {
            longest
        };
        let Trouble::Backend(error) = trouble else { return own };
        let resting = self.remote.backend.health().available_in().unwrap_or(longest);
        own.max(error.retry_after().unwrap_or_default()).max(resting).min(longest.max(own))
    }
}
