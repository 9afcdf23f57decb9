//! The whole router, in process.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode};
use tower::ServiceExt;

use crate::{Portal, PortalOptions};

mod download;

/// A portal in a temporary directory.
pub(super) struct TestPortal {
    portal: Arc<Portal>,
    _directory: tempfile::TempDir,
}

impl TestPortal {
    pub(super) fn new() -> Self {
        TestPortal::with(|_| ())
    }

    /// With other options.
    pub(super) fn with(change: impl FnOnce(&mut PortalOptions)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = crate::options::for_tests();
        change(&mut options);
        let portal = Arc::new(Portal::open(directory.path(), options).unwrap());
        TestPortal { portal, _directory: directory }
    }

    pub(super) fn portal(&self) -> &Portal {
        &self.portal
    }

    /// Sends a request. Without an address of its own, it comes from a program on the same machine.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Response<Body> {
        if request.extensions().get::<ConnectInfo<SocketAddr>>().is_none() {
            request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1234))));
        }
        super::router(Arc::clone(&self.portal)).oneshot(request).await.unwrap()
    }
}

/// Makes a raw upload, and returns its skylink.
pub(super) async fn upload(portal: &TestPortal, name: &str, content: impl Into<Body>) -> String {
    let request = Request::post(format!("/skynet/skyfile?filename={name}"))
        .header("content-type", "application/octet-stream")
        .body(content.into())
        .unwrap();
    let response = portal.send(request).await;
    assert_eq!(response.status(), 200);
    response.headers()["skynet-skylink"].to_str().unwrap().to_owned()
}

pub(super) fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).body(body.into()).unwrap()
}

pub(super) async fn bytes(response: Response<Body>) -> Vec<u8> {
    to_bytes(response.into_body(), 1 << 24).await.unwrap().to_vec()
}

pub(super) async fn json(response: Response<Body>) -> serde_json::Value {
    serde_json::from_str(&text(response).await).unwrap()
}

pub(super) async fn text(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

pub(super) fn get(path: &str) -> Request<Body> {
    Request::get(path)
        .header("host", "localhost:9980")
        .header("origin", "http://app.example")
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn every_answer_lets_another_origin_read_it() {
    let portal = TestPortal::new();
    for (path, status) in [("/", 200), ("/skynet/stats", 200), ("/nothing/here", 404)] {
        let response = portal.send(get(path)).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("access-control-allow-origin"), "http://app.example", "{path}");
        assert_eq!(header("access-control-allow-credentials"), "true", "{path}");
        assert_eq!(header("vary"), "Origin", "{path}");
        assert!(header("access-control-expose-headers").contains("Skynet-Skylink"), "{path}");
        assert_eq!(header("skynet-portal-api"), "http://localhost:9980", "{path}");
    }
}

#[tokio::test]
async fn a_preflight_is_granted_what_it_asks() {
    let portal = TestPortal::new();
    let request = Request::options("/skynet/tus")
        .header("origin", "null")
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "tus-resumable, x-anything")
        .body(Body::empty())
        .unwrap();
    let response = portal.send(request).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(response.headers()["access-control-allow-headers"], "tus-resumable, x-anything");
    assert!(response.headers()["access-control-allow-methods"].to_str().unwrap().contains("PATCH"));
}

/// Requests whose client left before the answer were not counted.
#[tokio::test]
async fn a_request_whose_client_leaves_before_the_answer_is_counted() {
    let portal = TestPortal::new();
    let never = Body::from_stream(futures_util::stream::pending::<std::io::Result<bytes::Bytes>>());
    let request = Request::post("/skynet/skyfile?filename=a").header("content-type", "application/octet-stream");
    assert!(portal.send(request.body(never).unwrap()).now_or_never().is_none());
    let page = portal.portal().metrics.page(None).text;
    assert!(page.contains(r#"method="POST",status="499"} 1"#), "{page}");
}

#[tokio::test]
async fn errors_are_messages() {
    let portal = TestPortal::new();
    assert_eq!(text(portal.send(get("/nothing/here")).await).await, "{\"message\":\"404 - Refer to API.md\"}\n");
}
