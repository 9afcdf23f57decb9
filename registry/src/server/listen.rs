//! Accepts connections until the shutdown, then lets them finish.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::serve;
use super::place::Places;
use super::shared::Shared;
use super::{Entry, HeadLog, Limits, send_queue};
use crate::telemetry::labels::Refusal;
use crate::telemetry::metrics::Metrics;

/// First and longest pause after a failed accept. Without descriptors each accept fails at once, and retrying without a
/// pause would use a whole processor.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Time in which cut tasks must end. They do at their next await; a task that still runs is stuck and is left behind.
const CUT_TIME: Duration = Duration::from_secs(2);

/// Serves `router` on `listener`, over TLS or plain, until `shutdown`. Then it stops accepting, lets running requests
/// finish within the grace, cuts the rest, and returns. Requests carry `axum::extract::ConnectInfo<SocketAddr>` of
/// their peer, or of the client that a header of the PROXY protocol names, and the `serving::Scheme` of their
/// connection.
pub async fn run(
    listener: TcpListener,
    entry: impl Into<Entry>,
    router: Router,
    limits: Limits,
    head_log: HeadLog,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) {
    let shared = Arc::new(Shared {
        router,
        entry: entry.into(),
        places: Places::new(limits.max_connections, limits.permit_patience),
        limits,
        head_log,
        metrics,
        shutdown,
        cut: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    // If the caller drops this future, no connection may be left behind.
    let cut_on_drop = shared.cut.clone().drop_guard();
    accept_until_shutdown(&listener, &shared).await;
    drop(listener);
    drain(&shared).await;
    drop(cut_on_drop);
}

async fn accept_until_shutdown(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            accepted = accept(listener, &shared.places) => accepted,
        };
        match accepted {
            Ok(stream) => {
                pause = FIRST_PAUSE;
                spawn(stream, shared);
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                tracing::warn!(%error, pause_ms = pause.as_millis() as u64, "cannot accept a connection");
                let _ = shared.shutdown.run_until_cancelled(sleep(pause)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Waits for room first. Without room nothing is accepted, and the kernel's queue pushes back.
async fn accept(listener: &TcpListener, places: &Places) -> io::Result<TcpStream> {
    places.room().await;
    Ok(listener.accept().await?.0)
}

/// True if this one connection died in the queue, which says nothing about the next one.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn spawn(stream: TcpStream, shared: &Arc<Shared>) {
    // Without TCP_NODELAY a small answer waits for the peer's delayed acknowledgement, about 40 ms.
    let (Ok(()), Ok(peer)) = (stream.set_nodelay(true), stream.peer_addr()) else { return };
    send_queue::limit_unsent(&stream);
    let Some(place) = shared.places.of(peer.ip(), &shared.head_log) else { return shared.refused(Refusal::share) };
    let connection = Arc::clone(shared);
    let open = Open::count(Arc::clone(&shared.metrics));
    shared.tasks.spawn(async move {
        serve(stream, peer, place, connection).await;
        drop(open);
    });
}

async fn drain(shared: &Shared) {
    shared.tasks.close();
    if timeout(shared.limits.shutdown_grace, shared.tasks.wait()).await.is_ok() {
        return;
    }
    tracing::warn!(tasks = shared.tasks.len(), "cutting requests that did not finish within the grace");
    shared.cut.cancel();
    if timeout(CUT_TIME, shared.tasks.wait()).await.is_err() {
        tracing::error!(tasks = shared.tasks.len(), "leaving behind tasks that did not end after the cut");
    }
}

/// Counts an open connection while it lives, even if its task panics.
#[derive(Debug)]
struct Open(Arc<Metrics>);

impl Open {
    fn count(metrics: Arc<Metrics>) -> Self {
        metrics.connections_open.inc();
        Open(metrics)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections_open.dec();
    }
}
