//! `skyberth serve`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attached::{AttachedPortal, Attachment, Beside};
use super::node::Node;
use super::{attached, backend, gateway, print, process};
use crate::admin;
use crate::config::{Config, Loaded};
use crate::http::{Door, HttpOptions, router};
use crate::telemetry::metrics::Metrics;
use crate::{data_dir, gc, placement, server};

/// Runs until SIGTERM or SIGINT.
pub(super) fn serve(loaded: Loaded) -> anyhow::Result<()> {
    let config = loaded.config;
    process::prepare(&config, &config.storage.data)?.block_on(run(config))
}

/// Listens first: opening may take minutes if the index must be built anew, and health checks want an answer meanwhile.
async fn run(config: Config) -> anyhow::Result<()> {
    let listen = config.server.listen;
    let listener = TcpListener::bind(listen.0).await.with_context(|| format!("listen on {}", listen.0))?;
    let address = listener.local_addr()?;
    let for_gateway = gateway::bind(&config).await?;
    let attachment = Attachment::listen(&config).await?;
    let stop = server::signal::shutdown_token()?;
    let metrics = Arc::new(Metrics::new());
    let door = Door::default();
    let limits = server::Limits::from(&config.server);
    let serving = tokio::spawn(server::run(listener, router(door.clone()), limits, Arc::clone(&metrics), stop.clone()));
    let opening = {
        let (config, metrics) = (config.clone(), Arc::clone(&metrics));
        let beside = Beside::of_running(&config, attachment.as_ref());
        tokio::task::spawn_blocking(move || Node::open(&config, beside, metrics))
    };
    // A rebuild cannot be broken off; a stop waits for it, and a second signal ends the process at once.
    let node = opening.await.context("opening the data directory panicked")??;
    let gateway = match for_gateway {
        Some(listener) => Some(gateway::start(&config, &node, listener, &stop).await?),
        None => None,
    };
    let attached = AttachedPortal::start(attachment, &config, &node).await.context("the attached portal")?;
    // With the gateway up: a backend that is this very gateway is found out now.
    if let Some(backend) = &node.backend {
        backend::check(&**backend).await?;
    }
    let end = CancellationToken::new();
    let placing = tokio::spawn(placement::run(Arc::clone(&node.registry), end.clone()));
    let beside = (gateway.as_ref(), attached.as_ref());
    let result = operate(&config, &node, address, beside, &door, &stop).await;
    stop.cancel();
    let stopping = Instant::now();
    serving.await.context("the server panicked")?;
    if let Some(gateway) = gateway {
        gateway.finish().await?;
    }
    // Pushes that were complete are brought to their end; sessions stay where they are, on disk.
    node.registry.finish().await;
    if let Some(durability) = placement::flush(&node.registry).await {
        if durability.backlog.count == 0 {
            tracing::info!("{durability}");
        } else {
            tracing::warn!(trouble = durability.trouble, "{durability} are on this node only");
        }
    }
    end.cancel();
    placing.await.context("placement panicked")?;
    let open_uploads = node.registry.open_uploads();
    tokio::task::spawn_blocking(move || node.registry.catalog().close()).await?;
    // Last, as all of the above stores there.
    if let Some(attached) = attached {
        attached.stop(config.server.shutdown_grace.duration().saturating_sub(stopping.elapsed())).await?;
    }
    tracing::info!(open_uploads, "stopped");
    result
}

/// Opens the door and keeps house until `stop`.
async fn operate(
    config: &Config,
    node: &Node,
    address: SocketAddr,
    (gateway, attached): (Option<&gateway::Running>, Option<&AttachedPortal>),
    door: &Door,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    tracing::info!(journal = %node.report.journal, sequence = node.report.sequence, index = ?node.report.index,
        entries = node.report.entries, took_ms = node.report.took.as_millis() as u64, "opened the data directory");
    let socket = admin::server::bind(&data_dir::socket(node.data.path())).context("local socket")?;
    let options = HttpOptions {
        idle_body_timeout: config.server.idle_body_timeout.duration(),
        chunk_max_length: config.registry.chunk_max_length.bytes(),
        metrics: config.metrics.enabled,
    };
    door.open(Arc::clone(&node.registry), Arc::clone(&node.metrics), options);
    greet(address, node)?;
    if let Some(gateway) = gateway {
        gateway.greet();
    }
    let tasks = TaskTracker::new();
    attached::greet(attached, node, &tasks, stop);
    tasks.spawn(admin::server::serve(socket, Arc::clone(&node.registry), stop.clone()));
    tasks.spawn(collect_regularly(config.clone(), Arc::clone(&node.registry), stop.clone()));
    start_scrub(config, node, &tasks, stop);
    stop.cancelled().await;
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// What a person needs to begin.
fn greet(address: SocketAddr, node: &Node) -> anyhow::Result<()> {
    let data = node.data.path().canonicalize()?;
    let host =
        if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() };
    print(&format!("Skyberth {} is ready at http://{host}", super::VERSION));
    print(&format!("data directory: {}", data.display()));
    print(&format!("push with:      docker tag IMAGE {host}/IMAGE && docker push {host}/IMAGE"));
    Ok(())
}

async fn collect_regularly(config: Config, registry: Arc<crate::service::Registry>, stop: CancellationToken) {
    let interval = config.gc.interval;
    if interval.is_zero() {
        return;
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval.duration()) => {}
        }
        let collected = tokio::select! {
            () = stop.cancelled() => return,
            collected = gc::collect(&registry, false) => collected,
        };
        match collected {
            Ok(done) if done.blobs + done.files + done.uploads > 0 => {
                tracing::info!(
                    blobs = done.blobs,
                    bytes = done.bytes,
                    files = done.files,
                    uploads = done.uploads,
                    "collected"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "collection failed, the next one will try again"),
        }
    }
}

fn start_scrub(config: &Config, node: &Node, tasks: &TaskTracker, stop: &CancellationToken) {
    let rate = config.storage.scrub_rate;
    if rate.is_zero() {
        return;
    }
    let (registry, stop) = (Arc::clone(&node.registry), stop.clone());
    tasks.spawn_blocking(move || gc::scrub_forever(&registry, rate.bytes(), &stop));
}
