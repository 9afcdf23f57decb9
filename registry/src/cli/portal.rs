//! `skyberth portal`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use portal::{ApiKeys, PeerKey, Portal, PortalOptions};
use serving::{PERMIT_PATIENCE, WebPages};
use tokio::net::TcpListener;

use super::{print, process, tls};
use crate::config::{Config, Loaded, Secret};
use crate::data_dir::{DataDir, Kind};
use crate::server::{self, Entry};
use crate::telemetry::metrics::Metrics;

/// Runs until SIGTERM or SIGINT.
pub(super) fn serve(loaded: Loaded) -> anyhow::Result<()> {
    let config = loaded.config;
    let data = config.portal.data.clone();
    process::run(config, &data, run)
}

async fn run(config: Config) -> anyhow::Result<()> {
    let listen = config.portal.listen;
    let listener = TcpListener::bind(listen.0).await;
    let listener = listener.with_context(|| format!("listen on {} (--listen takes another address)", listen.0))?;
    let address = listener.local_addr()?;
    // The portal counts its own requests. These metrics count connections.
    let metrics = Arc::new(Metrics::new());
    let tls = tls::load(&config, &config.portal.url, &metrics)?;
    let stop = server::signal::shutdown_token(process::stop_deadline(&config))?;
    let data = DataDir::open(&config.portal.data, Kind::Portal)?;
    let (path, options) = (data.path().to_owned(), options(&config));
    let opening = tokio::task::spawn_blocking(move || Portal::open(&path, options));
    let portal = Arc::new(opening.await.context("opening the portal panicked")??);
    greet(if tls.is_some() { "https" } else { "http" }, address, &data)?;
    let limits = server::Limits::from(&config.server);
    let upkeep = tokio::spawn(Arc::clone(&portal).keep_up(stop.clone()));
    let tls = tls.map(|(tls, watch)| {
        tokio::spawn(watch.keep_up(stop.clone()));
        tls
    });
    let entry = Entry { tls, proxy_protocol: config.server.proxy_protocol };
    let log = server::HeadLog::of_portal(&config);
    server::run(listener, entry, portal::http::router(portal), limits, log, metrics, stop).await;
    upkeep.await.context("the portal's upkeep panicked")?;
    tracing::info!("stopped");
    Ok(())
}

/// The portal's options from the configuration.
pub(super) fn options(config: &Config) -> PortalOptions {
    PortalOptions {
        url: config.portal.url.clone(),
        hostname: config.portal.hostname.clone(),
        idle_body_timeout: config.server.idle_body_timeout.duration(),
        metrics: config.metrics.enabled,
        trusted_proxies: config.server.trusted(),
        pages: pages(config),
        access_log: config.log.access,
        api_keys: ApiKeys::new(config.portal.api_keys.iter().map(Secret::expose)),
        profile: config.portal.profile,
        max_upload: config.portal.max_upload.bytes(),
        max_metadata: config.portal.max_metadata.in_memory(),
        max_uploads: config.portal.max_uploads,
        max_archives: config.portal.max_archives,
        permit_patience: PERMIT_PATIENCE,
        disk_reserve: config.portal.disk_reserve.bytes(),
        sweep_interval: config.portal.sweep_interval.duration(),
        scrub_rate: config.portal.scrub_rate.bytes(),
        registry_rate: config.portal.registry_rate,
        lookup_rate: config.portal.lookup_rate,
        max_entries: config.portal.max_entries,
        peers: config.portal.peers.clone(),
        peer_key: PeerKey::new(config.portal.peer_key.expose()),
        max_resumable_uploads: config.portal.max_resumable_uploads,
        upload_expiry: config.portal.upload_expiry.duration(),
    }
}

/// Each skylink has its own subdomain of the portal.
fn pages(config: &Config) -> WebPages {
    let Config { server, portal, .. } = config;
    server.pages(&[portal.listen.0], &portal.url, &[portal.hostname.clone(), format!("*.{}", portal.hostname)])
}

/// Prints the address and the first steps.
fn greet(scheme: &str, address: SocketAddr, data: &DataDir) -> anyhow::Result<()> {
    let host =
        if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() };
    print(&format!("Skyberth {} portal is ready at {scheme}://{host}", super::VERSION));
    print(&format!("data directory: {}", data.path().canonicalize()?.display()));
    print(&format!("upload with:    curl -F file=@FILE {scheme}://{host}/skynet/skyfile"));
    Ok(())
}
