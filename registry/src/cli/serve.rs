//! `skyberth serve`.

use super::process;
use super::running::Running;
use crate::config::{Config, Loaded};
use crate::server;

/// Runs until SIGTERM or SIGINT.
pub(super) fn serve(loaded: Loaded) -> anyhow::Result<()> {
    let config = loaded.config;
    process::prepare(&config, &config.storage.data)?.block_on(run(config))
}

async fn run(config: Config) -> anyhow::Result<()> {
    let stop = server::signal::shutdown_token()?;
    let running = Running::start(config, stop.clone()).await?;
    stop.cancelled().await;
    running.stop().await
}
