//! What a portal does by itself: sweeps, a scrub, exchanges with peers, the end of idle uploads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::Portal;
use crate::portal::Stores;
use crate::sectors::{SectorStore, Swept};

/// From an unpin to the sweep that it causes: others may follow.
const AFTER_UNPIN: Duration = Duration::from_secs(10);
/// From the start to the first pass of the scrub: others have enough to read then.
const FIRST_SCRUB: Duration = Duration::from_mins(5);
/// A pause between two passes, so that a small store is not read without end.
const BETWEEN_SCRUBS: Duration = Duration::from_hours(1);
/// Longest sleep without looking whether the portal stops.
const NAP: Duration = Duration::from_millis(200);

impl Portal {
    /// Runs until `stop`. One at a time: it is alone in sweeping.
    pub async fn keep_up(self: Arc<Self>, stop: CancellationToken) {
        // What a gateway serves is kept up by whoever has it.
        let Ok(stores) = self.stores() else { return };
        let scrub = {
            let (sectors, rate, stop) = (stores.skyfiles.sectors().clone(), self.options.scrub_rate, stop.clone());
            // Ends soon after `stop`; it holds nothing that others wait for.
            spawn_blocking(move || scrub_forever(&sectors, rate, &stop))
        };
        let sweeps = self.sweep_forever(stores, &stop);
        let exchanges = stop.run_until_cancelled(stores.peers.exchange_forever());
        tokio::join!(sweeps, stores.uploads.expire_forever(&stop), exchanges);
        // A panic of it is in the log.
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
        // Whichever it is.
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

/// Reads all sectors again and again at `rate` bytes a second, and puts aside those that are damaged. 0 is never.
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
