//! One connection from its first byte to its end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use serving::{Holder, after_standstill};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Limits;
use super::activity::{Activity, Verdict};
use super::buffers::Share;
use super::first_bytes::Protocol;
use super::gate::Gate;
use super::opening::{Opened, open};
use super::place::Place;
use super::shared::Shared;
use super::socket::Socket;
use super::transport::Transport;
use crate::telemetry::labels::Refusal;

/// Answer to a TLS handshake on a plain port. Go's clients, including docker and podman, recognize `HTTP/`. They then
/// tell the user, or use plain HTTP where allowed.
const PLAIN_HTTP_ONLY: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 33\r\nConnection: close\r\n\r\nthis port speaks plain HTTP only\n";

/// Answer to plain HTTP on a port with TLS.
const TLS_ONLY: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 43\r\nConnection: close\r\n\r\nthis port speaks TLS only: ask by https://\n";

/// Bytes read from an HTTP/1.1 peer at once, which is also the largest frame of a body. hyper's default is three times
/// as much. Many uploads at once on a slow disk would have several such frames each in memory.
const H1_BUFFER: usize = 128 * 1024;

/// Time for the last frames of an h2 connection after GOAWAY. The transport lingers within this time.
const H2_GOODBYE: Duration = Duration::from_secs(3);

/// Serves `stream` until it closes, a limit ends it, or the server ends.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, place: Place, shared: Arc<Shared>) {
    let (activity, place) = (Activity::new(), Arc::new(place));
    let share = Share::of(&shared.limits.buffers);
    let gate =
        Gate { shared: Arc::clone(&shared), activity: Arc::clone(&activity), place: Arc::clone(&place), share, peer };
    tokio::select! {
        () = serve_in_place(stream, gate) => {}
        () = place.over(&activity) => shared.refused(Refusal::slow),
    }
}

async fn serve_in_place(stream: TcpStream, gate: Gate) {
    let shared = Arc::clone(&gate.shared);
    let due = Instant::now() + shared.limits.header_timeout;
    let opened = tokio::select! {
        opened = open(stream, gate.peer, &shared.entry, shared.head_log.trusted_proxies()) => opened,
        () = sleep_until(due) => return shared.refused(Refusal::silent),
        () = shared.shutdown.cancelled() => return,
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(reason) => return reason.into_iter().for_each(|reason| shared.refused(reason)),
    };
    if opened.client != gate.peer
        && gate.place.count_for(Holder::of(opened.client.ip(), shared.head_log.trusted_proxies())).is_err()
    {
        return shared.refused(Refusal::share);
    }
    let gate = Gate { peer: opened.client, ..gate };
    tokio::select! {
        () = serve_protocol(opened, gate, due, &shared) => {}
        () = shared.cut.cancelled() => {}
    }
}

async fn serve_protocol(Opened { socket, protocol, first, .. }: Opened, gate: Gate, due: Instant, shared: &Shared) {
    let activity = Arc::clone(&gate.activity);
    let transport = Transport::new(socket, first, Arc::clone(&activity), &shared.limits);
    match protocol {
        Protocol::Nothing => {}
        Protocol::Tls => refuse(transport.head_due(due), Refusal::tls, PLAIN_HTTP_ONLY, shared).await,
        Protocol::Plain => refuse(transport.head_due(due), Refusal::plain, TLS_ONLY, shared).await,
        Protocol::Http1 => serve_http1(transport.head_due(due), gate, &activity, shared).await,
        Protocol::Http2 => serve_http2(transport.multiplexed(), gate, &activity, shared).await,
    }
}

/// Answers and closes. The transport lingers, since a reset for unread bytes could lose the answer.
async fn refuse(mut transport: Transport<Socket>, reason: Refusal, answer: &[u8], shared: &Shared) {
    shared.refused(reason);
    let answer = async {
        transport.write_all(answer).await?;
        transport.shutdown().await
    };
    // A peer that is gone, or too slow for a hundred bytes, needs no answer.
    let _ = timeout(shared.limits.header_timeout, answer).await;
}

async fn serve_http1(transport: Transport<Socket>, gate: Gate, activity: &Activity, shared: &Shared) {
    let (limits, peer) = (&shared.limits, gate.peer);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The transport limits the head from its first byte on. This timer limits the wait for that byte.
        .header_read_timeout(limits.keep_alive_timeout.max(limits.header_timeout))
        .max_header_size(limits.hard_head_bytes())
        .max_buf_size(H1_BUFFER.max(limits.hard_head_bytes()))
        .serve_connection(TokioIo::new(transport), gate);
    let mut connection = pin!(connection);
    let result = tokio::select! {
        // The connection first: a request that has arrived is still answered.
        biased;
        result = connection.as_mut() => result,
        () = shared.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Some(status) = result.as_ref().err().and_then(answered_by_the_library) {
        shared.head_log.refused::<()>(&shared.metrics, peer, None, status);
    }
    report(result, activity, shared);
}

/// The status with which the library answered an unparsable head. It reveals nothing else of the head.
fn answered_by_the_library(error: &hyper::Error) -> Option<StatusCode> {
    if !error.is_parse() {
        return None;
    }
    Some(match error.to_string() {
        text if text == "URI too long" => StatusCode::URI_TOO_LONG,
        _ if error.is_parse_too_large() => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    })
}

async fn serve_http2(transport: Transport<Socket>, gate: Gate, activity: &Activity, shared: &Shared) {
    let limits = &shared.limits;
    let window = limits.buffers.window();
    let streams = Streams { tasks: shared.tasks.clone(), cut: shared.cut.clone() };
    let connection = http2::Builder::new(streams)
        .timer(TokioTimer::new())
        .initial_stream_window_size(window.stream())
        .initial_connection_window_size(window.connection())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.hard_head_bytes()).unwrap_or(u32::MAX))
        .serve_connection(TokioIo::new(transport), gate);
    let mut connection = pin!(connection);
    let (mut look_again, mut going) = (Instant::now(), false);
    let result = loop {
        tokio::select! {
            result = connection.as_mut() => break result,
            () = shared.shutdown.cancelled(), if !going => {
                going = true;
                connection.as_mut().graceful_shutdown();
            }
            () = sleep_until(look_again) => match verdict(activity, limits, look_again) {
                Verdict::Fine(due) => look_again = due,
                Verdict::Idle if !going => {
                    shared.refused(Refusal::idle);
                    going = true;
                    connection.as_mut().graceful_shutdown();
                    look_again = Instant::now() + H2_GOODBYE;
                }
                Verdict::Idle => return,
                Verdict::Silent => return shared.refused(Refusal::silent),
                Verdict::Stalled => return shared.refused(Refusal::stalled),
            }
        }
    };
    report(result, activity, shared);
}

/// A check that runs long after its time proves nothing about the peer: the process was suspended.
fn verdict(activity: &Activity, limits: &Limits, due: Instant) -> Verdict {
    after_standstill(due).map_or_else(|| activity.verdict(limits), Verdict::Fine)
}

/// Counts the ends that a limit caused. The others are normal.
fn report(result: hyper::Result<()>, activity: &Activity, shared: &Shared) {
    let Err(error) = result else { return };
    let of_the_transport = std::error::Error::source(&error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|source| source.kind() == io::ErrorKind::TimedOut);
    if of_the_transport || error.is_timeout() {
        shared.refused(match activity.awaits_head() {
            None => Refusal::stalled,
            Some(0) => Refusal::silent,
            Some(_) => Refusal::idle,
        });
    }
    tracing::debug!(%error, "connection ended early");
}

/// Runs h2 streams as tasks of the server, which end with the server.
#[derive(Clone, Debug)]
struct Streams {
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            let _ = cut.run_until_cancelled(stream).await;
        });
    }
}
