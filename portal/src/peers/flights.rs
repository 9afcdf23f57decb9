//! One shared fetch per sector for all readers that need it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use skynet_formats::sector::SectorRoot;
use skynet_formats::skylink::Skylink;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use super::fetch_error::FetchError;

/// The number of sectors fetched or queued at which no further skyfile is begun.
const WAITING: usize = 256;

/// Sectors with content that are fetched at once; each is in memory until it is stored.
const DATA_AT_ONCE: usize = 8;

/// Base sectors that are fetched at once: the head of an answer does not wait for the content of others.
const BASES_AT_ONCE: usize = 4;

/// The target of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    /// The base sector of a skyfile, which is stored only if it is one.
    Base(Skylink),
    /// A sector listed in some base sector.
    Data(SectorRoot),
}

/// The result of a fetch for each waiter: whether the sector is local now.
pub(super) type Outcome = Result<bool, Arc<FetchError>>;

/// A sector in flight. The fetch stops when the last reference is dropped.
#[derive(Debug)]
pub(super) struct Flight {
    outcome: watch::Receiver<Option<Outcome>>,
    task: AbortOnDropHandle<()>,
}

impl Flight {
    /// Waits for its end.
    pub(super) async fn end(&self) -> Outcome {
        let aborted = || Arc::new(FetchError::Aborted);
        let mut outcome = self.outcome.clone();
        // If the fetch panicked, the sender is gone without an outcome.
        let ended = outcome.wait_for(Option::is_some).await.map_err(|_| aborted())?;
        ended.clone().ok_or_else(aborted)?
    }
}

type Table = HashMap<Wanted, Weak<Flight>>;

/// The fetches in flight.
#[derive(Debug)]
pub(super) struct Flights {
    table: Mutex<Table>,
    bases: Arc<Semaphore>,
    data: Arc<Semaphore>,
}

impl Default for Flights {
    fn default() -> Self {
        let [bases, data] = [BASES_AT_ONCE, DATA_AT_ONCE].map(|places| Arc::new(Semaphore::new(places)));
        Flights { table: Mutex::default(), bases, data }
    }
}

impl Flights {
    /// The fetch of this sector that is in flight, or else `fetch`.
    pub(super) fn join(
        &self,
        wanted: Wanted,
        fetch: impl Future<Output = Result<bool, FetchError>> + Send + 'static,
    ) -> Result<Arc<Flight>, FetchError> {
        let mut table = self.table();
        if let Some(flight) = table.get(&wanted).and_then(under_way) {
            return Ok(flight);
        }
        table.retain(|_, flight| under_way(flight).is_some());
        // A reader of a skyfile already has a few sectors in flight, and gets the next ones.
        if table.len() >= WAITING && matches!(wanted, Wanted::Base(_)) {
            return Err(FetchError::Busy);
        }
        let (sender, outcome) = watch::channel(None);
        let task = tokio::spawn(async move {
            sender.send_replace(Some(fetch.await.map_err(Arc::new)));
        });
        let flight = Arc::new(Flight { outcome, task: AbortOnDropHandle::new(task) });
        table.insert(wanted, Arc::downgrade(&flight));
        Ok(flight)
    }

    /// A permit for one sector in memory, which is kept as long as the sector.
    pub(super) async fn room(&self, wanted: Wanted) -> Option<OwnedSemaphorePermit> {
        let places = match wanted {
            Wanted::Base(_) => &self.bases,
            Wanted::Data(_) => &self.data,
        };
        // The semaphore is never closed.
        Arc::clone(places).acquire_owned().await.ok()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Each use is a single call on the map.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fetch if it is in flight; the outcome of one that has ended is stale.
fn under_way(flight: &Weak<Flight>) -> Option<Arc<Flight>> {
    flight.upgrade().filter(|flight| !flight.task.is_finished() && flight.outcome.borrow().is_none())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn data(n: u8) -> Wanted {
        Wanted::Data(SectorRoot::from_bytes([n; 32]))
    }

    fn base(n: u16) -> Wanted {
        let mut bytes = [0; Skylink::SIZE];
        bytes[2..4].copy_from_slice(&n.to_le_bytes());
        Wanted::Base(Skylink::from_bytes(&bytes).unwrap())
    }

    async fn never() -> Result<bool, FetchError> {
        std::future::pending().await
    }

    #[tokio::test]
    async fn who_comes_while_it_is_under_way_waits_for_the_same() {
        let (flights, begun) = (Flights::default(), AtomicUsize::new(0));
        let begun = Arc::new(begun);
        let fetch = || {
            let begun = Arc::clone(&begun);
            let flight = flights.join(data(1), async move {
                begun.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(true)
            });
            async move { flight.unwrap().end().await }
        };
        let ended = futures_util::future::join_all((0..16).map(|_| fetch())).await;
        assert!(ended.iter().all(|ended| matches!(ended, Ok(true))));
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        assert!(fetch().await.unwrap());
        assert_eq!(begun.load(Ordering::Relaxed), 2, "what has ended is not joined");
    }

    #[tokio::test]
    async fn a_fetch_stops_with_the_last_who_waits() {
        let (flights, held) = (Flights::default(), Arc::new(()));
        let fetch = {
            let held = Arc::clone(&held);
            async move {
                let ended = never().await;
                drop(held);
                ended
            }
        };
        let [one, other] = [flights.join(data(1), fetch).unwrap(), flights.join(data(1), never()).unwrap()];
        drop(one);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(Arc::strong_count(&held), 2, "somebody waits");
        drop(other);
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
        assert!(flights.join(data(1), async { Ok(true) }).unwrap().end().await.unwrap());
    }

    #[tokio::test]
    async fn a_fetch_that_panics_can_be_repeated() {
        let flights = Flights::default();
        let panicking = flights.join(data(1), async { panic!("as the test wants") }).unwrap();
        assert!(matches!(panicking.end().await.unwrap_err().as_ref(), FetchError::Aborted));
        assert!(!flights.join(data(1), async { Ok(false) }).unwrap().end().await.unwrap());
    }

    #[tokio::test]
    async fn so_many_wait_and_no_further_skyfile_is_begun() {
        let flights = Flights::default();
        let begin = |wanted| flights.join(wanted, never());
        let waiting: Vec<_> = (0..WAITING as u16).map(|n| begin(base(n)).unwrap()).collect();
        assert!(matches!(begin(base(9999)), Err(FetchError::Busy)));
        assert!(begin(base(0)).is_ok(), "joining one that is under way is allowed");
        assert!(begin(data(1)).is_ok(), "as are the next sectors of one that is read");
        drop(waiting);
        assert!(begin(base(9999)).is_ok());
    }
}
