//! The attached portal: a whole portal within `skyberth serve`. The registry stores to it as to any other.
//!
//! Its store is `portal` in the registry's data directory, with its own marker and lock. The steps, and what a crash
//! right after each leaves behind:
//!
//! 1. Its socket is bound. Now its URL is known, and the node is opened with it as a backend. Left: nothing.
//! 2. Its directory is locked, its store is opened, and it answers. Left: a portal with the content that it had.
//! 3. The node checks it, as any backend, and is served. A portal with a new directory has another identity, so nothing
//!    that was placed before counts as placed there.
//! 4. At a stop the registry's connections end first. Then content that is only on the node is placed, and the portal
//!    ends. Left, at any moment: content that the portal has not acknowledged. The next start places it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use backends::skynet::{Access, PortalConfig, Secret};
use portal::Portal;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::{portal as alone, print};
use crate::admin::{Absent, count_absent};
use crate::config::{Backend, Config};
use crate::data_dir::{self, DataDir, Kind};
use crate::server;
use crate::service::Registry;
use crate::telemetry::metrics::Metrics;
use crate::units::{bytes, count};

/// Shortest time that a stop gives readers of the portal.
const LEAST_GRACE: Duration = Duration::from_secs(1);

/// A portal that will be attached. Its socket is bound, but it does not answer yet.
#[derive(Debug)]
pub(super) struct Attachment {
    listener: TcpListener,
    address: SocketAddr,
    /// Its configuration as one of the registry's portals.
    own: PortalConfig,
}

impl Attachment {
    /// Binds the portal's socket. `None` for a node without an attached portal.
    pub(super) async fn listen(config: &Config) -> anyhow::Result<Option<Self>> {
        if !config.portal.attached {
            return Ok(None);
        }
        let listen = config.portal.listen.0;
        let binding = TcpListener::bind(listen).await;
        let listener = binding.with_context(|| format!("listen on {listen}, as portal.listen says"))?;
        let address = listener.local_addr()?;
        Ok(Some(Attachment { listener, address, own: own(config, address)? }))
    }
}

/// A portal that answers.
#[derive(Debug)]
pub(super) struct AttachedPortal {
    address: SocketAddr,
    /// Stops the portal when it is dropped, as in a start that fails. Otherwise its tasks would keep the process
    /// running.
    stop: DropGuard,
    serving: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    /// The last field, so that the lock is released after all else is closed.
    data: DataDir,
}

impl AttachedPortal {
    /// Opens and serves the portal of the node in `data`. This must come before the node asks its backend anything.
    pub(super) async fn start(
        attachment: Option<Attachment>,
        config: &Config,
        data: &Path,
    ) -> anyhow::Result<Option<Self>> {
        let Some(Attachment { listener, address, .. }) = attachment else { return Ok(None) };
        let (path, options) = (data_dir::attached_portal(data), alone::options(config));
        let opening = spawn_blocking(move || -> anyhow::Result<_> {
            let data = DataDir::open(&path, Kind::Portal)?;
            Ok((Portal::open(data.path(), options)?, data))
        });
        let (portal, data) = opening.await.context("opening the attached portal panicked")??;
        let (portal, stop) = (Arc::new(portal), CancellationToken::new());
        let upkeep = tokio::spawn(Arc::clone(&portal).keep_up(stop.clone()));
        let limits = server::Limits::from(&config.server);
        let router = portal::http::router(portal);
        let (log, metrics) = (server::HeadLog::of_portal(config), Arc::new(Metrics::new()));
        let serving = tokio::spawn(server::run(listener, None, router, limits, log, metrics, stop.clone()));
        Ok(Some(AttachedPortal { address, stop: stop.drop_guard(), serving, upkeep, data }))
    }

    /// Stops the portal. Connected clients have the rest of the grace.
    pub(super) async fn stop(mut self, grace: Duration) -> anyhow::Result<()> {
        drop(self.stop);
        if timeout(grace.max(LEAST_GRACE), &mut self.serving).await.is_err() {
            tracing::warn!("cutting connections that still use the attached portal");
            // Dropping its future cuts its connections.
            self.serving.abort();
        }
        self.upkeep.await.context("the portal's upkeep panicked")?;
        drop(self.data);
        Ok(())
    }
}

/// What a node knows of the attached portal in its directory.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Its configuration, if the node stores to it.
    pub(super) portal: Option<PortalConfig>,
    /// What `status` says about it.
    pub(super) note: Option<String>,
}

impl Beside {
    /// For a node that will be served, with its portal if it has one.
    pub(super) fn of_running(config: &Config, attachment: Option<&Attachment>) -> Self {
        let place = data_dir::attached_portal(&config.storage.data);
        let shown = place.display();
        match attachment {
            Some(Attachment { own, .. }) => {
                let note = format!("the portal at {} runs in this process and keeps its copy in {shown}", own.url);
                Beside { portal: Some(own.clone()), note: Some(note) }
            }
            None if DataDir::exists(&place).unwrap_or(false) => {
                let note = format!("{shown} is left from a start with --with-portal; this process does not use it");
                Beside { portal: None, note: Some(note) }
            }
            None => Beside::default(),
        }
    }

    /// For a stopped node. If it has a portal's directory and no other backend, it was served with that portal,
    /// whatever the configuration says now. So content placed there is not reported as lost. The portal is not asked.
    pub(super) fn of_stopped(config: &Config) -> anyhow::Result<Self> {
        let place = data_dir::attached_portal(&config.storage.data);
        if !DataDir::exists(&place)? && !config.portal.attached {
            return Ok(Beside::default());
        }
        let note = format!("the portal with a copy in {} does not run now", place.display());
        // With a `skynet` backend it may be one of the named portals, run by itself.
        let is_one_more = config.portal.attached || config.storage.backend == Backend::Fs;
        let portal = is_one_more.then(|| own(config, config.portal.listen.0)).transpose()?;
        Ok(Beside { portal, note: Some(note) })
    }
}

/// Prints the portal's address. For a node without a portal but with a portal's directory, prints notes, and later logs
/// how much content may be only at that portal.
pub(super) fn greet(
    attached: Option<&AttachedPortal>,
    data: &Path,
    registry: &Arc<Registry>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    if let Some(AttachedPortal { address, .. }) = attached {
        let address =
            if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() };
        return print(&format!("portal:         http://{address} (skyberth ls NAME@DIGEST prints skylinks)"));
    }
    for note in registry.notes() {
        print(&format!("note:           {note}"));
    }
    if !DataDir::exists(&data_dir::attached_portal(data)).unwrap_or(false) {
        return;
    }
    let (registry, stop) = (Arc::clone(registry), stop.clone());
    tasks.spawn_blocking(move || match count_absent(&registry, || stop.is_cancelled()) {
        Ok(Absent { count: 0, .. }) => {
            tracing::info!("all content has local files; none is only at the portal of an earlier start");
        }
        Ok(Absent { count: absent, bytes: size }) => {
            let verb = if absent == 1 { "has" } else { "have" };
            let (blobs, size) = (count(absent, "blob"), bytes(size));
            tracing::warn!("{blobs} {verb} no file here ({size}); start with --with-portal if that portal has them");
        }
        Err(error) => tracing::warn!(%error, "cannot tell which content is only at the portal of an earlier start"),
    });
}

/// The portal's configuration for the registry. If the portal listens on all addresses, it is reached over loopback.
/// The registry sends the first of its API keys.
fn own(config: &Config, address: SocketAddr) -> anyhow::Result<PortalConfig> {
    let loopback: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let access = config.portal.api_keys.first().map_or(Access::Open, |key| Access::ApiKey(Secret::new(key.expose())));
    let url = format!("http://{}", SocketAddr::new(loopback, address.port())).parse()?;
    Ok(PortalConfig::new(url, access))
}

#[cfg(test)]
mod tests;
