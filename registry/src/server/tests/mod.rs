//! A server on a loopback socket with short limits, spoken to in raw bytes.

mod bodies;
mod descriptors;
mod ending;
mod framing;
mod h2c;
mod heads;
mod proxied;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serving::{IdleTimeout, IdleTimeoutError, Scheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Entry, HeadLog, Limits, run};
use crate::config;
use crate::telemetry::metrics::Metrics;
use crate::tls::Tls;

/// Longer than any limit below: what has not happened by then does not happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of `/big`: more than the kernel's buffers of both ends hold.
const BIG: usize = 64 << 20;

struct TestServer {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    /// Lets `/slow` answer.
    go: Arc<Notify>,
    running: JoinHandle<()>,
}

fn short_limits() -> Limits {
    Limits {
        permit_patience: Duration::from_millis(200),
        header_timeout: Duration::from_millis(400),
        keep_alive_timeout: Duration::from_millis(1600),
        write_stall_timeout: Duration::from_millis(600),
        shutdown_grace: Duration::from_secs(5),
        ..Limits::from(&config::Server::default())
    }
}

async fn start(limits: Limits) -> TestServer {
    start_with(limits, None).await
}

async fn start_with(limits: Limits, tls: Option<Tls>) -> TestServer {
    start_behind(limits, tls.into(), HeadLog::default()).await
}

async fn start_behind(limits: Limits, entry: Entry, head_log: HeadLog) -> TestServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (metrics, shutdown, go) = (Arc::new(Metrics::new()), CancellationToken::new(), Arc::new(Notify::new()));
    let running = tokio::spawn(run(
        listener,
        entry,
        router(Arc::clone(&go)),
        limits,
        head_log,
        Arc::clone(&metrics),
        shutdown.clone(),
    ));
    TestServer { address, metrics, shutdown, go, running }
}

fn router(go: Arc<Notify>) -> Router {
    Router::new()
        .route("/", get(async || "hello"))
        .route("/peer", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
        .route("/livez", get(async || "alive"))
        .route("/scheme", get(async |Extension(scheme): Extension<Scheme>| scheme.to_string()))
        .route("/host", get(async |headers: HeaderMap| headers[http::header::HOST].to_str().unwrap().to_owned()))
        .route("/nothing", get(async || StatusCode::NO_CONTENT))
        .route("/same", get(async || StatusCode::NOT_MODIFIED))
        .route("/echo", post(echo))
        .route("/refuse", post(async || StatusCode::PAYLOAD_TOO_LARGE))
        .route("/idle", post(idle))
        .route("/big", get(async || Body::from_stream(stream::iter(parts()))))
        .route(
            "/slow",
            get(async move || {
                go.notified().await;
                "done"
            }),
        )
}

fn parts() -> impl Iterator<Item = io::Result<Bytes>> {
    let part = Bytes::from(vec![7; 1 << 18]);
    (0..BIG >> 18).map(move |_| Ok(part.clone()))
}

async fn echo(body: Body) -> (StatusCode, Bytes) {
    body.collect().await.map_or((StatusCode::BAD_REQUEST, Bytes::new()), |body| (StatusCode::OK, body.to_bytes()))
}

/// Counts the bytes of a body that may pause for at most 300 ms.
async fn idle(body: Body) -> (StatusCode, String) {
    let mut body = IdleTimeout::new(body, Duration::from_millis(300));
    let mut count = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => count += frame.into_data().map_or(0, |data| data.len()),
            Err(IdleTimeoutError::Idle(_)) => return (StatusCode::REQUEST_TIMEOUT, count.to_string()),
            Err(IdleTimeoutError::Body(_)) => return (StatusCode::BAD_REQUEST, count.to_string()),
        }
    }
    (StatusCode::OK, count.to_string())
}

impl TestServer {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection from the address 127.0.0.`last`.
    async fn connect_from(&self, last: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, last], 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Sends `bytes`, then reads all that comes until the server closes, which it must do without a reset.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_to_end(&mut stream).await
    }

    async fn connections_become(&self, count: i64) {
        let reached = async {
            while self.metrics.connections_open.get() != count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let reached = timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "{} connections, not {count}", self.metrics.connections_open.get());
    }

    fn metric(&self, series: &str) -> Option<String> {
        let text = self.metrics.page(None).text;
        text.lines().find_map(|line| line.strip_prefix(series).map(|value| value.trim().to_owned()))
    }
}

async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server closes").expect("without a reset");
    String::from_utf8(answer).unwrap()
}

/// Reads one answer whose body ends with `end`, leaving the connection open.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        let read = timeout(PATIENCE, stream.read_buf(&mut answer)).await.expect("an answer comes").unwrap();
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap()
}

/// The time until the server closes, whatever it says before.
async fn time_to_close(stream: &mut (impl AsyncRead + Unpin)) -> Duration {
    let begin = Instant::now();
    let mut answer = Vec::new();
    // A reset closes just as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server closes");
    begin.elapsed()
}

fn answers(text: &str) -> usize {
    text.matches("HTTP/1.1 ").count()
}
