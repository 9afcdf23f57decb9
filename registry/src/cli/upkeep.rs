//! Regular tasks of a node: collection, scrub, counting stored files.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::content::keep_counting;
use crate::gc;
use crate::service::Registry;

/// Starts these tasks. They run until `stop`.
pub(super) fn start(config: &Config, registry: &Arc<Registry>, tasks: &TaskTracker, stop: &CancellationToken) {
    let interval = config.gc.interval;
    if !interval.is_zero() {
        tasks.spawn(collect_regularly(interval.duration(), Arc::clone(registry), stop.clone()));
    }
    if config.metrics.enabled {
        tasks.spawn(keep_counting(Arc::clone(registry.content()), stop.clone()));
    }
    let rate = config.storage.scrub_rate;
    if !rate.is_zero() {
        let (registry, stop) = (Arc::clone(registry), stop.clone());
        tasks.spawn_blocking(move || gc::scrub_forever(&registry, rate.bytes(), &stop));
    }
}

async fn collect_regularly(interval: Duration, registry: Arc<Registry>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        let Some(collected) = stop.run_until_cancelled(gc::collect(&registry, false)).await else { return };
        match collected {
            Ok(done) if done.blobs + done.files + done.uploads > 0 => {
                tracing::info!(
                    blobs = done.blobs,
                    bytes = done.bytes,
                    files = done.files,
                    uploads = done.uploads,
                    "collected garbage"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "garbage collection failed; the next one retries"),
        }
    }
}
