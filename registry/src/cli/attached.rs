//! The attached portal: a whole portal within `skyberth serve`, to which the registry stores as to any other.
//!
//! Its store is `portal` in the registry's data directory, with a marker and a lock of its own. The order, and what an
//! end right after each step leaves behind:
//!
//! 1. Its socket is bound: with that, its URL is known, and the node is opened with it as a backend. Left: nothing.
//! 2. If it has no store yet, what the catalog says to be placed and is here as well is taken for not placed. Left: the
//!    same as before, or content that is placed anew.
//! 3. Its directory is taken, its address kept there if none is (it is what the portal is called in records, whatever its
//!    address is later), its store opened, it answers. Left: a portal that holds what it held.
//! 4. The node checks it, as any backend, and is served.
//! 5. At the end the registry's connections are served out, what is only here is placed, and then the portal ends.
//!    Left, at any moment: content that the portal has not acknowledged, which the next start places.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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

use super::node::{Beside, Node};
use super::{portal as alone, print};
use crate::admin::{Absent, count_absent, forget_places};
use crate::config::{Backend, Config};
use crate::data_dir::{self, DataDir, Kind};
use crate::server;
use crate::service::Registry;
use crate::telemetry::metrics::Metrics;
use crate::units::{bytes, count};

/// Those who read from the portal at the end have at least so long.
const LEAST_GRACE: Duration = Duration::from_secs(1);

/// A portal that will be attached: it has an address, and does not answer yet.
#[derive(Debug)]
pub(super) struct Attachment {
    listener: TcpListener,
    address: SocketAddr,
    /// How the registry reaches it.
    own: PortalConfig,
}

impl Attachment {
    /// `None` on a node without.
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
    /// Ends it when it is dropped, as at a start that fails: nothing of it may keep the process.
    stop: DropGuard,
    serving: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    /// Kept last: the lock goes when all else is closed.
    data: DataDir,
}

impl AttachedPortal {
    /// Before the node's backend is asked anything.
    pub(super) async fn start(
        attachment: Option<Attachment>,
        config: &Config,
        node: &Node,
    ) -> anyhow::Result<Option<Self>> {
        let Some(Attachment { listener, address, own }) = attachment else { return Ok(None) };
        let name = own.url.to_string();
        let (path, options) = (data_dir::attached_portal(node.data.path()), alone::options(config));
        let registry = Arc::clone(&node.registry);
        let opening = spawn_blocking(move || -> anyhow::Result<_> {
            if !DataDir::exists(&path) {
                begin_empty(&registry)?;
            }
            let mut data = DataDir::open(&path, Kind::Portal)?;
            data.keep_name(&name)?;
            Ok((Portal::open(data.path(), options)?, data))
        });
        let (portal, data) = opening.await.context("opening it panicked")??;
        let (portal, stop) = (Arc::new(portal), CancellationToken::new());
        let upkeep = tokio::spawn(Arc::clone(&portal).keep_up(stop.clone()));
        let limits = server::Limits::from(&config.server);
        let router = portal::http::router(portal);
        let serving = tokio::spawn(server::run(listener, router, limits, Arc::new(Metrics::new()), stop.clone()));
        Ok(Some(AttachedPortal { address, stop: stop.drop_guard(), serving, upkeep, data }))
    }

    /// Ends it. Whoever is still connected has what is left of the grace.
    pub(super) async fn stop(mut self, grace: Duration) -> anyhow::Result<()> {
        drop(self.stop);
        if timeout(grace.max(LEAST_GRACE), &mut self.serving).await.is_err() {
            tracing::warn!("cutting what still uses the attached portal");
            // Its connections are cut as its future is dropped.
            self.serving.abort();
        }
        self.upkeep.await.context("the portal's upkeep panicked")?;
        drop(self.data);
        Ok(())
    }
}

impl Beside {
    /// Of a node that is to be served, with its portal if it has one.
    pub(super) fn of_running(config: &Config, attachment: Option<&Attachment>) -> Self {
        let place = data_dir::attached_portal(&config.storage.data);
        let shown = place.display();
        match attachment {
            Some(Attachment { own, .. }) => {
                let note = format!("the portal at {} runs in this process and keeps its copy in {shown}", own.url);
                Beside { portal: Some(own.clone()), note: Some(note) }
            }
            None if DataDir::exists(&place) => {
                let note = format!("{shown} is left from a start with --with-portal, and not used by this process");
                Beside { portal: None, note: Some(note) }
            }
            None => Beside::default(),
        }
    }

    /// Of a node that runs no more. One that has a portal's directory and no other backend was served with it, whatever
    /// its configuration says: what is placed there is not lost. Nothing is asked of it.
    pub(super) fn of_stopped(config: &Config) -> anyhow::Result<Self> {
        let place = data_dir::attached_portal(&config.storage.data);
        if !DataDir::exists(&place) && !config.portal.attached {
            return Ok(Beside::default());
        }
        let note = format!("the portal that keeps a copy in {} does not run in any node now", place.display());
        // It may be one of those that are named, served by itself.
        let is_one_more = config.portal.attached || config.storage.backend == Backend::Fs;
        let portal = is_one_more.then(|| own(config, config.portal.listen.0)).transpose()?;
        Ok(Beside { portal, note: Some(note) })
    }
}

/// What was placed elsewhere, or at a portal whose directory is gone, is not at this one.
fn begin_empty(registry: &Registry) -> anyhow::Result<()> {
    let forgotten = forget_places(registry)?;
    if forgotten > 0 {
        let blobs = count(forgotten, "blob");
        tracing::warn!("the attached portal is new: {blobs} placed before will be uploaded to it");
    }
    Ok(())
}

/// Says where the portal is; on a node without one, that there was one, and soon after, what may be there only.
pub(super) fn greet(attached: Option<&AttachedPortal>, node: &Node, tasks: &TaskTracker, stop: &CancellationToken) {
    if let Some(AttachedPortal { address, .. }) = attached {
        let address =
            if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() };
        return print(&format!(
            "portal:         http://{address} (skyberth ls NAME@DIGEST says at which skylinks things are)"
        ));
    }
    for note in node.registry.notes() {
        print(&format!("note:           {note}"));
    }
    if !DataDir::exists(&data_dir::attached_portal(node.data.path())) {
        return;
    }
    let (registry, stop) = (Arc::clone(&node.registry), stop.clone());
    tasks.spawn_blocking(move || match count_absent(&registry, || stop.is_cancelled()) {
        Ok(Absent { count: 0, .. }) => {
            tracing::info!("all content is here; nothing of it is only at the portal of an earlier start");
        }
        Ok(Absent { count: absent, bytes: size }) => {
            let verb = if absent == 1 { "has" } else { "have" };
            let (blobs, size) = (count(absent, "blob"), bytes(size));
            tracing::warn!("{blobs} {verb} no file here ({size}); start with --with-portal if that portal has them");
        }
        Err(error) => tracing::warn!(%error, "cannot tell what is only at the portal of an earlier start"),
    });
}

/// The portal as the registry sees it: over loopback where it listens on all addresses, with the first of its keys; the
/// same one as before in records, wherever it listens now.
fn own(config: &Config, address: SocketAddr) -> anyhow::Result<PortalConfig> {
    let loopback: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let access = config.portal.api_keys.first().map_or(Access::Open, |key| Access::ApiKey(Secret::new(key.expose())));
    let url = format!("http://{}", SocketAddr::new(loopback, address.port())).parse()?;
    let name = DataDir::name_in(&data_dir::attached_portal(&config.storage.data))?;
    Ok(PortalConfig { recorded_as: name.map(|name| name.parse()).transpose()?, ..PortalConfig::new(url, access) })
}

#[cfg(test)]
mod tests;
