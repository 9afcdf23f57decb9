//! Requests of clients that leave, and what reaches the service.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use content_store::UploadId;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::access::Access;
use crate::oci::{Algorithm, Digest};
use crate::service::{Progress, Start, Started};
use crate::testing::{Fixture, incoming};
use crate::{config, server};

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Clients in a test, enough that the server notices at every stage that one has left.
const CLIENTS: usize = 20;

struct Site {
    fixture: Fixture,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Site {
    async fn new() -> Self {
        let fixture = Fixture::new(Duration::from_hours(1));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (door, metrics) = (Door::default(), Arc::new(Metrics::new()));
        door.open(
            Arc::clone(&fixture.registry),
            Arc::new(Access::open_to_all()),
            Arc::clone(&metrics),
            HttpOptions::for_tests(),
        );
        let (limits, stop) = (server::Limits::from(&config::Server::default()), CancellationToken::new());
        let serving = tokio::spawn(server::run(
            listener,
            None,
            router(door),
            limits,
            server::HeadLog::default(),
            metrics,
            stop.clone(),
        ));
        Site { fixture, address, stop, serving }
    }

    async fn session(&self) -> UploadId {
        let begun = self
            .fixture
            .registry
            .begin_upload(&crate::service::Caller::local(), &self.fixture.repository, Start::Session(None))
            .await
            .unwrap();
        let Started::Session(Progress { id, .. }) = begun else { panic!("{begun:?}") };
        id
    }

    /// Sends a request with only the first bytes of a body of this length, then closes the connection.
    async fn send(&self, line: &str, length: usize, body: &[u8]) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{line} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    }

    async fn until_there(&self, digest: &Digest) {
        let waiting = async {
            while !self.fixture.has(digest).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("what was sent whole is not there");
    }

    /// Waits until all tasks have ended, even those without a waiting caller.
    async fn stop(self) -> Fixture {
        self.stop.cancel();
        self.serving.await.unwrap();
        self.fixture.registry.finish().await;
        self.fixture
    }
}

/// A blob: for even numbers small enough to be sent in one piece.
fn content(number: usize) -> (Bytes, Digest) {
    let length = if number.is_multiple_of(2) { 2_000 } else { 1_000_000 };
    let bytes = Bytes::from(vec![u8::try_from(number).unwrap(); length]);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    (bytes, digest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_after_the_last_byte_of_its_closing_put_has_pushed() {
    let site = Site::new().await;
    for number in 0..CLIENTS {
        let (bytes, digest) = content(number);
        let id = site.session().await;
        let path = format!("/v2/a/blobs/uploads/{id}?digest={digest}");
        site.send(&format!("PUT {path}"), bytes.len(), &bytes).await;
        site.until_there(&digest).await;
        // Clients that left before the answer ask again.
        assert_eq!(site.fixture.close(&id, &digest).await.unwrap().digest, digest);
    }
    assert_eq!(site.stop().await.registry.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_after_a_closing_put_without_a_body_has_pushed() {
    let site = Site::new().await;
    for number in 0..CLIENTS {
        let (bytes, digest) = content(number);
        let id = site.session().await;
        let body = futures_util::stream::iter([Ok(bytes)]);
        let (registry, repository) = (&site.fixture.registry, &site.fixture.repository);
        registry
            .append_upload(&crate::service::Caller::local(), repository, &id, incoming(registry, body).await)
            .await
            .unwrap();
        site.send(&format!("PUT /v2/a/blobs/uploads/{id}?digest={digest}"), 0, b"").await;
        site.until_there(&digest).await;
    }
    assert_eq!(site.stop().await.registry.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_after_the_last_byte_of_its_only_post_has_pushed() {
    let site = Site::new().await;
    for number in 0..CLIENTS {
        let (bytes, digest) = content(number);
        site.send(&format!("POST /v2/a/blobs/uploads/?digest={digest}"), bytes.len(), &bytes).await;
        site.until_there(&digest).await;
    }
    assert_eq!(site.stop().await.registry.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_last_byte_leaves_the_session_as_it_was() {
    let site = Site::new().await;
    let mut sessions = Vec::new();
    for number in 0..CLIENTS {
        let (bytes, _) = content(number);
        let half = bytes.slice(..bytes.len() / 2);
        // The bytes that arrived match the digest, but not the length.
        let digest = Digest::of(Algorithm::Sha256, &half);
        let id = site.session().await;
        site.send(&format!("PUT /v2/a/blobs/uploads/{id}?digest={digest}"), bytes.len(), &half).await;
        site.send(&format!("POST /v2/a/blobs/uploads/?digest={digest}"), bytes.len(), &half).await;
        sessions.push((id, digest));
    }
    let fixture = site.stop().await;
    // The POSTs leave nothing behind.
    assert_eq!(fixture.registry.open_uploads(), CLIENTS);
    for (id, digest) in sessions {
        let (registry, caller) = (&fixture.registry, crate::service::Caller::local());
        assert_eq!(registry.upload_progress(&caller, &fixture.repository, &id).unwrap().offset, 0);
        assert!(!fixture.has(&digest).await);
    }
}
