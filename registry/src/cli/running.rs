//! A served node: the order in which its parts start and stop, and why.
//!
//! The steps of a start:
//!
//! 1. All addresses are bound, so that an address in use ends the start before anything is created. So does a
//!    certificate that cannot be used. From here on the attached portal's URL is known, and the node is opened with it.
//! 2. The registry's addresses are served. Opening may take minutes if the index must be rebuilt, and health checks
//!    want an answer meanwhile.
//! 3. The node is opened. All later steps need it.
//! 4. The gateway starts before the backend is checked: a backend that is this very gateway is detected then.
//! 5. The attached portal starts, since it is the backend, or one of its portals.
//! 6. The backend is checked. An unsuitable one ends the start before anything is placed there.
//! 7. Placement starts before the first push, which may wait for it.
//! 8. Users are read. On a node that asks for logins and has no user, the first one is made.
//! 9. The local socket, requests and upkeep start: the node is ready.
//!
//! The steps of a stop. It stops only parts that were started, so it also ends a start that failed half-way:
//!
//! 1. Nothing new begins: addresses are closed, upkeep ends at its next step.
//! 2. Upkeep and local commands end, and connections within the grace. From here on there are no callers.
//! 3. The gateway ends. It reads the catalog until then.
//! 4. Complete pushes are finished, even if their clients have left. Upload sessions stay on disk.
//! 5. Content that is only on this node is placed, for at most `storage.flush_timeout`. Then placement ends, and
//!    nothing writes to the catalog any more.
//! 6. The catalog is closed, so that the next start can use the index.
//! 7. The attached portal ends, since all steps above store there.
//! 8. The locks of the data directories are released.
//!
//! If a step hangs, the process ends at the deadline that `process` and `serve` compute.
//!
//! A crash instead of a stop loses nothing that was acknowledged. Each part documents what it leaves behind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attached::{self, AttachedPortal, Attachment, Beside};
use super::gateway::{self, GatewayServer};
use super::node::Node;
use super::{access, backend, print, process, tls, upkeep};
use crate::access::Access;
use crate::audit_journal::AuditJournal;
use crate::config::Config;
use crate::http::{Door, HttpOptions, Locations, router};
use crate::placement::Remote;
use crate::server::Entry;
use crate::service::Registry;
use crate::telemetry::metrics::Metrics;
use crate::tls::Tls;
use crate::{admin, data_dir, placement, server};

/// All parts of a node's process. Some are absent while it starts and stops.
#[derive(Debug)]
pub(super) struct Running {
    config: Config,
    metrics: Arc<Metrics>,
    door: Door,
    /// Cancelled when nothing new may begin.
    stop: CancellationToken,
    /// The servers of the registry's addresses.
    connections: Vec<JoinHandle<()>>,
    node: Option<Arc<Node>>,
    gateway: Option<GatewayServer>,
    attached: Option<AttachedPortal>,
    placement_task: Option<PlacementTask>,
    /// Local commands, and upkeep.
    tasks: TaskTracker,
}

/// The addresses of a node, bound but not served.
#[derive(Debug)]
struct Sockets {
    registry: TcpListener,
    address: SocketAddr,
    /// The registry's second address, without TLS.
    plain: Option<TcpListener>,
    gateway: Option<TcpListener>,
    attached: Option<Attachment>,
}

impl Sockets {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let listen = config.server.listen.0;
        let registry = TcpListener::bind(listen).await;
        let registry = registry.with_context(|| format!("listen on {listen} (--listen takes another address)"))?;
        let address = registry.local_addr()?;
        let plain = match config.server.plain_listen.0 {
            Some(listen) => Some(TcpListener::bind(listen.0).await.with_context(|| format!("listen on {listen}"))?),
            None => None,
        };
        let gateway = gateway::bind(config).await?;
        Ok(Sockets { registry, address, plain, gateway, attached: Attachment::listen(config).await? })
    }
}

impl Running {
    /// Starts a node. A stop requested meanwhile does not interrupt it. If a step fails, the parts started before are
    /// stopped.
    pub(super) async fn start(config: Config, stop: CancellationToken) -> anyhow::Result<Self> {
        let sockets = Sockets::bind(&config).await?;
        let metrics = Arc::new(Metrics::new());
        let tls = tls::load(&config, &config.server.url, &metrics)?;
        let mut running = Running {
            config,
            metrics,
            door: Door::default(),
            stop,
            connections: Vec::new(),
            node: None,
            gateway: None,
            attached: None,
            placement_task: None,
            tasks: TaskTracker::new(),
        };
        let tls = tls.map(|(tls, watch)| {
            running.tasks.spawn(watch.keep_up(running.stop.clone()));
            tls
        });
        let Err(error) = running.start_on(sockets, tls).await else { return Ok(running) };
        // No signal was sent, whose deadline would apply to this stop too.
        let _deadline = server::signal::end_within(process::stop_deadline(&running.config));
        if let Err(another) = running.stop().await {
            tracing::error!(error = format!("{another:#}"), "a failed start could not stop all that it had started");
        }
        Err(error)
    }

    /// The steps of a start, as above.
    async fn start_on(&mut self, sockets: Sockets, tls: Option<Tls>) -> anyhow::Result<()> {
        let Sockets { registry, address, plain, gateway, attached } = sockets;
        let own = tls.clone().map(|tls| tls::of_registry(tls, &self.config.server));
        self.serve(registry, Entry { tls: own, proxy_protocol: self.config.server.proxy_protocol });
        if let Some(plain) = plain {
            self.serve(plain, Entry::default());
        }
        let node = self.open(Beside::of_running(&self.config, attached.as_ref())).await?;
        if let Some(listener) = gateway {
            self.gateway = Some(gateway::start(&self.config, &node, listener, tls, &self.stop).await?);
        }
        self.attached =
            AttachedPortal::start(attached, &self.config, node.data.path()).await.context("the attached portal")?;
        if let Some(backend) = &node.backend {
            backend::check(&**backend).await?;
        }
        self.placement_task = PlacementTask::start(&node.registry);
        let access = self.open_access(&node, address).await?;
        self.open_door(&node, access, address)
    }

    fn serve(&mut self, listener: TcpListener, entry: Entry) {
        let limits = server::Limits::from(&self.config.server);
        let (router, log, metrics) =
            (router(self.door.clone()), server::HeadLog::from(&self.config), Arc::clone(&self.metrics));
        let serving = server::run(listener, entry, router, limits, log, metrics, self.stop.clone());
        self.connections.push(tokio::spawn(serving));
    }

    /// Opens the node. A rebuild of the index cannot be interrupted: a stop waits for it, and a second signal ends the
    /// process.
    async fn open(&mut self, beside: Beside) -> anyhow::Result<Arc<Node>> {
        let (config, metrics) = (self.config.clone(), Arc::clone(&self.metrics));
        let progress = Arc::clone(&self.door.progress);
        let opening = spawn_blocking(move || Node::open_showing(&config, beside, metrics, progress));
        let node = Arc::new(opening.await.context("opening the data directory panicked")??);
        let report = &node.report;
        tracing::info!(journal = %report.journal, sequence = report.sequence, index = %report.index,
            entries = report.entries, took_ms = report.took.as_millis() as u64, "opened the data directory");
        self.node = Some(Arc::clone(&node));
        Ok(node)
    }

    async fn open_access(&self, node: &Node, address: SocketAddr) -> anyhow::Result<Arc<Access>> {
        let (config, data) = (self.config.clone(), node.data.path().to_owned());
        let catalog = node.registry.catalog().clone();
        let opening = spawn_blocking(move || access::open(&config, &data, &access::host(&config, address), &catalog));
        opening.await.context("reading the users panicked")?
    }

    fn open_door(&self, node: &Node, access: Arc<Access>, address: SocketAddr) -> anyhow::Result<()> {
        let socket = admin::server::bind(&data_dir::socket(node.data.path())).context("local socket")?;
        let options = HttpOptions {
            idle_body_timeout: self.config.server.idle_body_timeout.duration(),
            chunk_max_length: self.config.registry.chunk_max_length.bytes(),
            metrics: self.config.metrics.enabled,
            trusted_proxies: self.config.server.trusted(),
            access_log: self.config.log.access,
            locations: Locations::from(&self.config.server),
            pages: self.config.server.pages(&self.config.server.addresses(), &self.config.server.url, &[]),
            // Where everybody may do everything, nobody is told apart.
            audit: access
                .asks_for_logins()
                .then(|| Arc::new(AuditJournal::in_directory(data_dir::audit(node.data.path())))),
        };
        self.door.open(Arc::clone(&node.registry), Arc::clone(&access), Arc::clone(&node.metrics), options);
        greet(&self.config, address, node)?;
        access::greet(&self.config, &access);
        if let Some(gateway) = &self.gateway {
            gateway.greet();
        }
        attached::greet(self.attached.as_ref(), node.data.path(), &node.registry, &self.tasks, &self.stop);
        self.tasks.spawn(admin::server::serve(socket, Arc::clone(&node.registry), self.stop.clone()));
        self.tasks.spawn(access.keep_up(self.stop.clone()));
        upkeep::start(&self.config, &node.registry, &self.tasks, &self.stop);
        Ok(())
    }

    /// The steps of a stop, as above. All are done even if one fails. The first error is returned.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let Running { config, stop, connections, node, gateway, attached, placement_task, tasks, .. } = self;
        let began = Instant::now();
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        let mut result = Ok(());
        for connections in connections {
            result = result.and(connections.await.context("the server panicked"));
        }
        if let Some(gateway) = gateway {
            result = result.and(gateway.finish().await);
        }
        if let Some(node) = &node {
            result = result.and(finish(&node.registry, placement_task).await);
        }
        if let Some(attached) = attached {
            let grace = config.server.shutdown_grace.duration().saturating_sub(began.elapsed());
            result = result.and(attached.stop(grace).await);
        }
        if let Some(node) = node {
            tracing::info!(open_uploads = node.registry.open_uploads(), "stopped");
        }
        result
    }
}

/// Ends all that writes to the catalog, then closes the catalog.
async fn finish(registry: &Arc<Registry>, placement_task: Option<PlacementTask>) -> anyhow::Result<()> {
    registry.finish().await;
    let mut result = Ok(());
    if let Some(placement_task) = placement_task {
        result = placement_task.finish(registry).await;
    }
    let catalog = registry.catalog().clone();
    result.and(spawn_blocking(move || catalog.close()).await.context("closing the catalog panicked"))
}

/// The task that places content at the backend.
#[derive(Debug)]
struct PlacementTask {
    remote: Arc<Remote>,
    task: JoinHandle<()>,
    end: CancellationToken,
}

impl PlacementTask {
    fn start(registry: &Registry) -> Option<Self> {
        let (remote, end) = (Arc::clone(registry.remote()?), CancellationToken::new());
        let running = placement::run(Arc::clone(registry.content()), Arc::clone(&remote), end.clone());
        Some(PlacementTask { remote, task: tokio::spawn(running), end })
    }

    /// Continues until all content on this node is placed, or until time runs out or further attempts are hopeless.
    async fn finish(self, registry: &Registry) -> anyhow::Result<()> {
        let durability = placement::flush(registry.content(), &self.remote).await;
        if durability.backlog.count == 0 {
            tracing::info!("{durability}");
        } else {
            tracing::warn!(trouble = durability.trouble, "{durability} are on this node only");
        }
        self.end.cancel();
        self.task.await.context("placement panicked")
    }
}

/// Prints the address and the first steps.
fn greet(config: &Config, address: SocketAddr, node: &Node) -> anyhow::Result<()> {
    let data = node.data.path().canonicalize()?;
    let scheme = if config.server.tls.files().is_some() { "https" } else { "http" };
    let (local, host) = (access::local_host(address), access::host(config, address));
    print(&format!("Skyberth {} is ready at {scheme}://{local}", super::VERSION));
    print(&format!("data directory: {}", data.display()));
    print(&format!("push with:      docker tag IMAGE {host}/IMAGE && docker push {host}/IMAGE"));
    Ok(())
}

#[cfg(test)]
mod tests;
