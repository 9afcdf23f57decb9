//! The background work of a portal: sweeps, a scrub, exchanges with peers, the end of idle uploads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::Portal;
use crate::portal::Stores;
use crate::sectors::{SectorStore, Swept};

/// Time from an unpin to its sweep: more unpins may follow.
const AFTER_UNPIN: Duration = Duration::from_secs(10);
/// Time from the start to the first scrub: other work reads enough then.
const FIRST_SCRUB: Duration = Duration::from_mins(5);
/// Pause between two scrubs, so that a small store is not read without end.
const BETWEEN_SCRUBS: Duration = Duration::from_hours(1);
/// Longest sleep without a check for a stop.
const NAP: Duration = Duration::from_millis(200);

impl Portal {
    /// Runs until `stop`. Only one may run, because sweeps must not overlap.
    pub async fn keep_up(self: Arc<Self>, stop: CancellationToken) {
        // The owner of a gateway's content maintains it.
        let Ok(stores) = self.stores() else { return };
        let scrub = {
            let (sectors, rate, stop) = (stores.skyfiles.sectors().clone(), self.options.scrub_rate, stop.clone());
            // It ends soon after `stop`, and has nothing that others wait for.
            spawn_blocking(move || scrub_forever(&sectors, rate, &stop))
        };
        let sweeps = self.sweep_forever(stores, &stop);
        let exchanges = stop.run_until_cancelled(stores.peers.exchange_forever());
        tokio::join!(sweeps, stores.uploads.expire_forever(&stop), exchanges);
        // Its panic is in the log.
        let _ = scrub.await;
    }

    async fn sweep_forever(&self, stores: &Stores, stop: &CancellationToken) {
        while stop.run_until_cancelled(self.wait_for_sweep(stores)).await.is_some() {
            match stores.sweep(stop).await {
                Ok(Swept { sectors: 0, .. }) => {}
                Ok(Swept { sectors, bytes }) => tracing::info!(sectors, bytes, "swept sectors that no pin reaches"),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => tracing::error!(%error, "the sweep of sectors failed"),
            }
        }
    }

    async fn wait_for_sweep(&self, stores: &Stores) {
        let unpinned = async {
            stores.skyfiles.unpinned.notified().await;
            tokio::time::sleep(AFTER_UNPIN).await;
        };
        // Either event starts a sweep.
        let _ = tokio::time::timeout(self.options.sweep_interval, unpinned).await;
    }
}

impl Stores {
    /// Removes the sectors that no pin reaches.
    pub(crate) async fn sweep(&self, stop: &CancellationToken) -> io::Result<Swept> {
        let (skyfiles, stop) = (self.skyfiles.clone(), stop.clone());
        spawn_blocking(move || skyfiles.sweep(salts()?, || stop.is_cancelled())).await?
    }
}

fn salts() -> io::Result<[u64; 4]> {
    let mut salts = [0; 4];
    for salt in &mut salts {
        *salt = getrandom::u64().map_err(io::Error::other)?;
    }
    Ok(salts)
}

/// Reads all sectors again and again at `rate` bytes per second, and moves damaged ones to the quarantine. A rate of 0
/// disables it.
fn scrub_forever(sectors: &SectorStore, rate: u64, stop: &CancellationToken) {
    if rate == 0 {
        return;
    }
    nap(FIRST_SCRUB, stop);
    while !stop.is_cancelled() {
        let pace = |bytes: usize| nap(Duration::from_secs_f64(bytes as f64 / rate as f64), stop);
        match sectors.scrub(pace, || stop.is_cancelled()) {
            Ok(damaged) => tracing::debug!(damaged, "scrubbed the sectors"),
            Err(error) => tracing::error!(%error, "the scrub could not read the sectors"),
        }
        nap(BETWEEN_SCRUBS, stop);
    }
}

fn nap(mut time: Duration, stop: &CancellationToken) {
    while !time.is_zero() && !stop.is_cancelled() {
        let part = time.min(NAP);
        std::thread::sleep(part);
        time -= part;
    }
}
