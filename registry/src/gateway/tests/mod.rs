//! The whole gateway in one process: a registry, the records, and a portal's HTTP server.

mod following;
mod sectors;
mod serving;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::{Request, Response, StatusCode};
use portal::{ApiKeys, PeerKey, Portal, PortalOptions};
use skynet_formats::skylink::Skylink;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::Gateway;
use crate::catalog::command::Command;
use crate::catalog::fact::{Fact, Visibility};
use crate::catalog::local::journal::{AppendKind, Journal};
use crate::oci::Digest;
use crate::testing::Fixture;

const MIB: usize = 1 << 20;

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

struct Node {
    fixture: Fixture,
    gateway: Gateway,
    portal: Arc<Portal>,
}

impl Node {
    fn new() -> Self {
        Node::of("4MiB/1+4")
    }

    fn of(profile: &str) -> Self {
        Node::with(Fixture::new(Duration::from_hours(1)), profile)
    }

    fn with(fixture: Fixture, profile: &str) -> Self {
        let (registry, directory) = (Arc::clone(&fixture.registry), fixture.folder.path().join("gateway"));
        let profile = profile.parse().unwrap();
        let gateway = Gateway::open(registry, &directory, profile, "journal".to_owned()).unwrap();
        let options = PortalOptions::of_gateway(profile, String::new(), Duration::from_secs(5), true);
        let portal = Arc::new(Portal::gateway(gateway.source(), options));
        Node { fixture, gateway, portal }
    }

    async fn catch_up(&self) {
        let mut state = self.gateway.begin().await.unwrap();
        self.gateway.catch_up(&mut state, &CancellationToken::new()).await.unwrap();
    }

    async fn push(&self, bytes: &[u8]) -> Digest {
        let digest = self.fixture.push_blob(bytes).await;
        self.catch_up().await;
        digest
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        portal::http::router(Arc::clone(&self.portal)).oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response<Body> {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status().as_u16()
    }
}

async fn bytes(response: Response<Body>) -> Vec<u8> {
    to_bytes(response.into_body(), 64 * MIB).await.unwrap().to_vec()
}

/// A portal with a store, for comparison.
struct Uploader(Arc<Portal>, #[expect(dead_code, reason = "it goes with the portal")] tempfile::TempDir);

impl Uploader {
    fn new() -> Self {
        Uploader::of("4MiB/1+4", Vec::new())
    }

    fn of(profile: &str, peers: Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = PortalOptions {
            api_keys: ApiKeys::default(),
            peer_key: PeerKey::default(),
            max_upload: 1 << 30,
            max_metadata: MIB,
            max_uploads: 4,
            max_entries: 10,
            max_resumable_uploads: 4,
            peers,
            ..PortalOptions::of_gateway(profile.parse().unwrap(), String::new(), Duration::from_secs(5), true)
        };
        Uploader(Arc::new(Portal::open(folder.path(), options).unwrap()), folder)
    }

    async fn upload(&self, digest: &Digest, content: &[u8]) -> String {
        let request = Request::post(format!("/skynet/skyfile?filename={}", digest.file_name()))
            .header("content-type", "application/octet-stream")
            .body(Body::from(content.to_vec()))
            .unwrap();
        let response = portal::http::router(Arc::clone(&self.0)).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        response.headers()["skynet-skylink"].to_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> Response<Body> {
        let request = Request::get(path).body(Body::empty()).unwrap();
        portal::http::router(Arc::clone(&self.0)).oneshot(request).await.unwrap()
    }
}

fn count(node: &Node) -> usize {
    let shards = fs::read_dir(node.fixture.folder.path().join("gateway/links")).unwrap();
    shards.map(|shard| fs::read_dir(shard.unwrap().path()).unwrap().count()).sum()
}

/// Its repository is private from the start.
fn private(profile: &str) -> Node {
    let fixture = Fixture::with(Duration::from_hours(1), |options| {
        let (mut journal, _) = Journal::open(&options.journal_dir, None, options.journal.clone()).unwrap();
        let hidden = Fact::Repository { repository: "a".parse().unwrap(), visibility: Visibility::Private };
        journal.append(&[hidden], 0, AppendKind::Ordinary).unwrap();
    });
    Node::with(fixture, profile)
}
