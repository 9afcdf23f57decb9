//! Runs the gateway within `skyberth serve`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use portal::{Portal, PortalOptions};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::node::Node;
use super::print;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::server;
use crate::tls::Tls;

/// Binds the gateway's address, if one is configured.
pub(super) async fn bind(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(listen) = config.gateway.listen.0 else { return Ok(None) };
    let listener = TcpListener::bind(listen.0).await;
    listener.map(Some).with_context(|| format!("listen on {}, as gateway.listen says", listen.0))
}

/// A running gateway.
#[derive(Debug)]
pub(super) struct GatewayServer {
    scheme: &'static str,
    address: SocketAddr,
    serving: JoinHandle<()>,
    following: JoinHandle<()>,
}

/// Serves the node's public content until `stop`.
pub(super) async fn start(
    config: &Config,
    node: &Node,
    listener: TcpListener,
    tls: Option<Tls>,
    stop: &CancellationToken,
) -> anyhow::Result<GatewayServer> {
    let profile = config.storage.skynet.profile.parse().context("[storage.skynet] profile")?;
    let (registry, directory) = (Arc::clone(&node.registry), node.data.gateway());
    let journal = node.report.journal.to_string();
    let opening = tokio::task::spawn_blocking(move || Gateway::open(registry, &directory, profile, journal));
    let gateway = opening.await.context("opening the gateway panicked")?.context("open the records of the gateway")?;
    let mut options = PortalOptions::of_gateway(
        profile,
        config.gateway.url.clone(),
        config.server.idle_body_timeout.duration(),
        config.metrics.enabled,
    );
    let address = listener.local_addr()?;
    options.trusted_proxies = config.server.trusted();
    options.pages = config.server.pages(&[address], &config.gateway.url, &[]);
    options.access_log = config.log.access;
    let router = portal::http::router(Arc::new(Portal::gateway(gateway.source(), options)));
    let limits = server::Limits::from(&config.server);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let (log, metrics) = (server::HeadLog::of_portal(config), Arc::clone(&node.metrics));
    let serving = tokio::spawn(server::run(listener, tls, router, limits, log, metrics, stop.clone()));
    let following = tokio::spawn(gateway.follow(stop.clone()));
    Ok(GatewayServer { scheme, address, serving, following })
}

impl GatewayServer {
    /// Prints the gateway's address.
    pub(super) fn greet(&self) {
        print(&format!("gateway:        {}://{}/SKYLINK", self.scheme, self.address));
    }

    /// After a stop, waits until both parts have ended.
    pub(super) async fn finish(self) -> anyhow::Result<()> {
        self.serving.await.context("the gateway's server panicked")?;
        self.following.await.context("the gateway panicked")
    }
}
