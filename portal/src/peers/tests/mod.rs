//! Portals and their peers on loopback. Some peers are fakes that misbehave.

mod entries;
mod exchange;
mod fetch;
mod hostile;
mod streaming;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode};
use skynet_formats::profile::{Profile, SectorSize};
use skynet_formats::sector::SectorRoot;
use skynet_formats::skylink::Skylink;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Timing;
use crate::skyfile::Skyfile;
use crate::{Portal, PortalOptions};

/// Small sectors, so that files of several sectors are small.
const SECTOR: usize = 4096;

const RETRIES: &[Duration] = &[Duration::from_millis(20), Duration::from_millis(20)];

/// Times for peers that answer, even on a busy machine.
fn patient() -> Timing {
    Timing { retries: RETRIES, ..Timing::default() }
}

/// Times for peers that do not answer.
fn impatient() -> Timing {
    Timing {
        idle: Duration::from_secs(1),
        answer: Duration::from_secs(3),
        entry: Duration::from_secs(3),
        stagger: Duration::from_millis(50),
        ..patient()
    }
}

/// An HTTP server on a port of its own until it is dropped.
struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(router: Router) -> Server {
        Server::on(TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), router)
    }

    fn on(listener: TcpListener, router: Router) -> Server {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let router = router.layer(axum::middleware::map_request(move |request: Request<Body>| {
            counter.fetch_add(1, Ordering::Relaxed);
            std::future::ready(request)
        }));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Server { url, requests, task }
    }

    /// Answers everything with `answer`.
    async fn fake<F>(answer: impl Fn(Request<Body>) -> F + Clone + Send + Sync + 'static) -> Server
    where
        F: Future<Output = Response<Body>> + Send,
    {
        Server::start(Router::new().fallback(answer)).await
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A portal in a temporary directory.
struct Node {
    portal: Arc<Portal>,
    _directory: tempfile::TempDir,
}

impl Node {
    fn new(peers: &[&Server]) -> Node {
        Node::with(peers.iter().map(|peer| peer.url.clone()).collect(), |_| ())
    }

    fn with(peers: Vec<String>, change: impl FnOnce(&mut PortalOptions)) -> Node {
        Node::open(peers, change, patient())
    }

    fn impatient(peers: &[&Server]) -> Node {
        Node::open(peers.iter().map(|peer| peer.url.clone()).collect(), |_| (), impatient())
    }

    fn open(peers: Vec<String>, change: impl FnOnce(&mut PortalOptions), timing: Timing) -> Node {
        let directory = directory();
        let profile = Profile::new(SectorSize::new(SECTOR as u64).unwrap(), 1, 4).unwrap();
        let mut options = PortalOptions { profile, peers, ..crate::options::for_tests() };
        change(&mut options);
        let portal = Arc::new(Portal::open_with(directory.path(), options, timing).unwrap());
        Node { portal, _directory: directory }
    }

    async fn serve(&self) -> Server {
        Server::start(self.router()).await
    }

    fn router(&self) -> Router {
        crate::http::router(Arc::clone(&self.portal))
    }

    /// Stores content of `length` bytes, and returns it with its skylink.
    async fn upload(&self, length: usize) -> (Skylink, Vec<u8>) {
        let content: Vec<u8> = (0..length).map(|at| (at * 7 + at / 251 + length) as u8).collect();
        let mut writer = self.portal.stores().unwrap().skyfiles.writer().unwrap();
        writer.write(Bytes::from(content.clone())).await.unwrap();
        let metadata = format!("{{\"filename\":\"f.txt\",\"length\":{length}}}");
        (writer.finish(metadata.into_bytes()).await.unwrap(), content)
    }

    /// The content of a skyfile, local or from peers.
    async fn read(&self, skylink: Skylink) -> Option<Vec<u8>> {
        Some(read_all(&self.portal.open_skyfile(&skylink, false).await.unwrap()?).await)
    }

    /// Sweeps, and returns the number of removed sectors.
    async fn sweep(&self) -> u64 {
        self.portal.stores().unwrap().sweep(&CancellationToken::new()).await.unwrap().sectors
    }

    fn lose(&self, root: &SectorRoot) {
        self.portal.stores().unwrap().skyfiles.sectors().quarantine(root).unwrap();
    }
}

async fn read_all(skyfile: &Skyfile) -> Vec<u8> {
    let pieces: Vec<Bytes> = skyfile.stream(0, skyfile.size()).map(Result::unwrap).collect().await;
    pieces.concat()
}

fn status(code: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// A temporary directory, in memory if possible, since these tests do not depend on the disk.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Waits until the condition holds.
async fn eventually<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    for _ in 0..500 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came");
}
