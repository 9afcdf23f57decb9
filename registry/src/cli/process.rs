//! Prepares a server process before it opens anything: its user, log, descriptors and threads.
//!
//! It also says how long a stop may take. `server::signal` ends the process then.

use std::path::Path;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::{descriptors, privileges};
use crate::config::Config;
use crate::telemetry;

/// Threads for files and the index, besides those that uploads occupy.
const SPARE_BLOCKING_THREADS: usize = 128;
/// Time that a stop takes after the grace of its requests: cutting the rest, finishing complete pushes, closing files.
/// With the default grace this fits into docker's 10 s.
const CLOSING: Duration = Duration::from_secs(4);

/// Longest time of a stop, without the upload of content that is only on this node.
pub(super) fn stop_deadline(config: &Config) -> Duration {
    config.server.shutdown_grace.duration() + CLOSING
}

/// Exit status of a process whose index is lost.
const INDEX_LOST: i32 = 7;

/// Ends the process because its index is lost. Everything acknowledged is in the journal, and the next start rebuilds
/// the index from it.
pub(super) fn end_without_index(why: &str) {
    let line =
        format!("the index is lost: {why}; the process ends with {INDEX_LOST}, and the next start rebuilds the index");
    // Commands have no log.
    if tracing::dispatcher::has_been_set() {
        tracing::error!("{line}");
    } else {
        super::warn(&line);
    }
    std::process::exit(INDEX_LOST);
}

/// Runs a server that writes to `data`, until it ends. A thread that hangs does not delay that end. The process must have
/// only one thread.
pub(super) fn run(
    mut config: Config,
    data: &Path,
    server: impl AsyncFnOnce(Config) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // First, so that nothing below has privileges that it does not need.
    privileges::drop_root(config.server.run_as, data, true)?;
    let counts = telemetry::logs::init(&config.log)?;
    let runtime = runtime(&mut config)?;
    let result = runtime.block_on(server(config));
    runtime.shutdown_timeout(CLOSING);
    counts.end();
    result
}

fn runtime(config: &mut Config) -> anyhow::Result<Runtime> {
    let second = [config.gateway.listen.0, config.server.plain_listen.0].into_iter().flatten().count() as u64;
    let beside = u64::from(config.portal.attached) + second;
    if let Err(error) = descriptors::fit(&mut config.server, 1 + beside) {
        tracing::warn!(%error, "cannot raise the limit of descriptors");
    }
    let mut threads = config.registry.max_transfers + SPARE_BLOCKING_THREADS;
    if config.portal.attached {
        // So that registry and portal do not wait for each other's threads.
        threads += config.portal.max_uploads + SPARE_BLOCKING_THREADS;
    }
    Ok(Builder::new_multi_thread().enable_all().max_blocking_threads(threads).build()?)
}
