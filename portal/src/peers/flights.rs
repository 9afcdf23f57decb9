//! One fetch for all who want the same skylink.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use storage_backends::skynet::skylink::Skylink;
use tokio::sync::{Semaphore, watch};

use super::fetch::{FetchError, Fetched};

/// Skylinks that are fetched or wait for it.
const WAITING: usize = 256;

/// Skylinks that are fetched at once; each takes the memory of a few sectors.
const AT_ONCE: usize = 4;

/// What came of a fetch, for each who waited: `None` if no peer has it.
pub(super) type Outcome = Result<Option<Arc<Fetched>>, Arc<FetchError>>;

type Table = HashMap<Skylink, watch::Receiver<Option<Outcome>>>;

/// The fetches that are under way. They go on when those who wait leave: clients that gave up come again.
#[derive(Debug)]
pub(super) struct Flights {
    table: Arc<Mutex<Table>>,
    permits: Arc<Semaphore>,
}

impl Default for Flights {
    fn default() -> Self {
        Flights { table: Arc::default(), permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// Takes a fetch off the table when it ends, however it does.
struct Landing {
    table: Arc<Mutex<Table>>,
    skylink: Skylink,
}

impl Drop for Landing {
    fn drop(&mut self) {
        lock(&self.table).remove(&self.skylink);
    }
}

impl Flights {
    /// Waits for the fetch of this skylink that is under way, or for `fetch`.
    pub(super) async fn join(
        &self,
        skylink: Skylink,
        fetch: impl Future<Output = Outcome> + Send + 'static,
    ) -> Outcome {
        let mut outcome = self.board(skylink, fetch)?;
        let aborted = || Arc::new(FetchError::Aborted);
        // The sender is gone without an outcome if the fetch panicked.
        let ended = outcome.wait_for(Option::is_some).await.map_err(|_| aborted())?;
        ended.clone().ok_or_else(aborted)?
    }

    fn board(
        &self,
        skylink: Skylink,
        fetch: impl Future<Output = Outcome> + Send + 'static,
    ) -> Result<watch::Receiver<Option<Outcome>>, Arc<FetchError>> {
        let mut table = lock(&self.table);
        if let Some(outcome) = table.get(&skylink) {
            return Ok(outcome.clone());
        }
        if table.len() >= WAITING {
            return Err(Arc::new(FetchError::Busy));
        }
        let (sender, outcome) = watch::channel(None);
        table.insert(skylink, outcome.clone());
        let landing = Landing { table: Arc::clone(&self.table), skylink };
        let permits = Arc::clone(&self.permits);
        tokio::spawn(async move {
            // Never closed.
            let _permit = permits.acquire().await;
            let ended = fetch.await;
            // Who comes from now on finds what was fetched.
            drop(landing);
            sender.send_replace(Some(ended));
        });
        Ok(outcome)
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // Each use is one call on the map.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn skylink(n: u16) -> Skylink {
        let mut bytes = [0; Skylink::SIZE];
        bytes[2..4].copy_from_slice(&n.to_le_bytes());
        Skylink::from_bytes(&bytes).unwrap()
    }

    #[tokio::test]
    async fn who_comes_while_it_is_under_way_waits_for_the_same() {
        let (flights, begun) = (Flights::default(), Arc::new(AtomicUsize::new(0)));
        let fetch = || {
            let begun = Arc::clone(&begun);
            flights.join(skylink(1), async move {
                begun.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(None)
            })
        };
        let ended = futures_util::future::join_all((0..16).map(|_| fetch())).await;
        assert!(ended.iter().all(|ended| matches!(ended, Ok(None))));
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        assert!(lock(&flights.table).is_empty());
    }

    #[tokio::test]
    async fn a_fetch_goes_on_when_nobody_waits() {
        let flights = Flights::default();
        let (done, ended) = tokio::sync::oneshot::channel();
        let fetch = flights.join(skylink(1), async move {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            done.send(()).unwrap();
            Ok(None)
        });
        assert!(tokio::time::timeout(std::time::Duration::from_millis(5), fetch).await.is_err());
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_fetch_that_panics_can_be_repeated() {
        let flights = Flights::default();
        let panicking = flights.join(skylink(1), async { panic!("as the test wants") }).await;
        assert!(matches!(panicking.unwrap_err().as_ref(), FetchError::Aborted));
        assert!(matches!(flights.join(skylink(1), async { Ok(None) }).await, Ok(None)));
    }

    #[tokio::test]
    async fn the_table_is_bounded() {
        let flights = Flights::default();
        let waiting: Vec<_> =
            (0..WAITING as u16).map(|n| flights.board(skylink(n), std::future::pending()).unwrap()).collect();
        let refused = flights.join(skylink(9999), async { Ok(None) }).await;
        assert!(matches!(refused.unwrap_err().as_ref(), FetchError::Busy));
        assert!(flights.board(skylink(0), std::future::pending()).is_ok(), "joining one that is under way is allowed");
        drop(waiting);
    }
}
