//! The scrub: reads all stored files slowly, over and over, and quarantines those that do not match their digest.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use content_store::{StoreError, Verdict};
use tokio_util::sync::CancellationToken;

use crate::oci::Digest;
use crate::service::Registry;

/// From the start of a node to its first pass, since a starting node reads much already.
const FIRST_PASS_AFTER: Duration = Duration::from_mins(5);
/// A pause between two passes, so that a small store is not read all the time.
const BETWEEN_PASSES: Duration = Duration::from_hours(1);
/// Longest sleep between two checks whether the node stops.
const NAP: Duration = Duration::from_millis(200);

/// Scrubs until `stop`, at `rate` bytes a second. Runs on a thread of its own.
pub fn scrub_forever(registry: &Arc<Registry>, rate: u64, stop: &CancellationToken) {
    let runtime = tokio::runtime::Handle::current();
    nap(FIRST_PASS_AFTER, stop);
    while !stop.is_cancelled() {
        match pass(registry, rate, stop, &runtime) {
            Ok(files) => tracing::debug!(files, "scrubbed the content store"),
            Err(error) => tracing::error!(%error, "the scrub could not read the content store"),
        }
        nap(BETWEEN_PASSES, stop);
    }
}

pub(super) fn pass(
    registry: &Arc<Registry>,
    rate: u64,
    stop: &CancellationToken,
    runtime: &tokio::runtime::Handle,
) -> Result<u64, StoreError> {
    let mut files = 0;
    for content in registry.store().walk() {
        if stop.is_cancelled() {
            break;
        }
        let content = match content {
            Ok(content) => content,
            Err(StoreError::Stranger(_)) => continue,
            Err(error) => return Err(error),
        };
        let mut pace = |bytes: u64| {
            registry.metrics.scrub_bytes.inc_by(bytes);
            nap(Duration::from_secs_f64(bytes as f64 / rate as f64), stop);
            if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match registry.store().verify(&content.digest, &mut pace) {
            Ok(Verdict::Corrupt) => runtime.block_on(put_aside(registry, &content.digest)),
            Ok(Verdict::Sound | Verdict::Missing | Verdict::Interrupted) => files += 1,
            // Another try may succeed in the next pass. The other files are checked now.
            Err(error) => {
                registry.metrics.scrub_errors.inc();
                tracing::error!(digest = %content.digest, %error, "the scrub could not read stored content");
            }
        }
    }
    Ok(files)
}

async fn put_aside(registry: &Arc<Registry>, digest: &Digest) {
    registry.metrics.scrub_errors.inc();
    match registry.content.put_aside(digest).await {
        Ok(Some(path)) => {
            tracing::error!(%digest, quarantine = %path.display(), "the scrub found damaged content and put its file aside");
        }
        Ok(None) => {}
        Err(error) => tracing::error!(%digest, %error, "the scrub found damaged content and could not put it aside"),
    }
}

fn nap(mut time: Duration, stop: &CancellationToken) {
    while !time.is_zero() && !stop.is_cancelled() {
        let part = time.min(NAP);
        std::thread::sleep(part);
        time -= part;
    }
}
