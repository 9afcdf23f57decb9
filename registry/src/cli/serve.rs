//! `skyberth serve`.

use std::time::Duration;

use super::process;
use super::running::Running;
use crate::config::{Backend, Config, Loaded};
use crate::server;

/// Runs until SIGTERM or SIGINT.
pub(super) fn serve(loaded: Loaded) -> anyhow::Result<()> {
    let config = loaded.config;
    let data = config.storage.data.clone();
    process::run(config, &data, run)
}

async fn run(config: Config) -> anyhow::Result<()> {
    let uploads = config.storage.backend != Backend::Fs || config.portal.attached;
    let flush = if uploads { config.storage.flush_timeout.duration() } else { Duration::ZERO };
    let stop = server::signal::shutdown_token(process::stop_deadline(&config) + flush)?;
    let running = Running::start(config, stop.clone()).await?;
    stop.cancelled().await;
    running.stop().await
}
