//! What a server's process needs before it opens anything: its user, its log, descriptors, threads.

use std::path::Path;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::{descriptors, privileges};
use crate::config::Config;
use crate::telemetry;

/// Threads for file and index work besides those that uploads hold.
const SPARE_BLOCKING_THREADS: usize = 128;
/// What a stop takes after the grace of its requests: cutting the rest, finishing complete pushes, closing files. With
/// the default grace that fits the 10 s that docker gives.
const CLOSING: Duration = Duration::from_secs(4);

/// Longest time that a stop takes, the upload of what is only here not counted.
pub(super) fn stop_deadline(config: &Config) -> Duration {
    config.server.shutdown_grace.duration() + CLOSING
}

/// Prepares a server that will write to `data`. Must be called while the process has one thread.
pub(super) fn prepare(config: &Config, data: &Path) -> anyhow::Result<Runtime> {
    // First of all: nothing below has rights that it does not need.
    privileges::drop_root(config.server.run_as, data, true)?;
    telemetry::logs::init(&config.log)?;
    match descriptors::raise_limit() {
        Ok(limit) => tracing::debug!(limit, "raised the limit of descriptors"),
        Err(error) => tracing::warn!(%error, "cannot raise the limit of descriptors"),
    }
    let mut threads = config.registry.max_transfers + SPARE_BLOCKING_THREADS;
    if config.portal.attached {
        // So that neither of the two waits for the other's.
        threads += config.portal.max_uploads + SPARE_BLOCKING_THREADS;
    }
    Ok(Builder::new_multi_thread().enable_all().max_blocking_threads(threads).build()?)
}
