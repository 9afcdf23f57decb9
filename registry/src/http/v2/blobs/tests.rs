//! Blobs that are only at the backend, as clients get them.

use std::sync::Arc;
use std::time::Duration;

use backends::UNIT;
use backends::wrap::{Call, Fault};
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, RANGE, RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::access::Access;
use crate::http::{Door, HttpOptions, router};
use crate::oci::Digest;
use crate::placement::Settings;
use crate::placement::tests::{Node, large, settings, unavailable};

async fn ask(
    node: &Node,
    method: &str,
    path: &str,
    header: Option<(HeaderName, &str)>,
) -> http::Response<axum::body::Body> {
    let registry = &node.fixture.registry;
    let door = Door::default();
    let access = Arc::new(Access::open_to_all());
    door.open(Arc::clone(registry), access, Arc::clone(&registry.metrics), HttpOptions::for_tests());
    let mut request = Request::builder().method(method).uri(path).header("host", "x");
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    router(door).oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap()
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn path(digest: &Digest) -> String {
    format!("/v2/a/blobs/{digest}")
}

#[tokio::test(flavor = "multi_thread")]
async fn they_look_like_any_other() {
    let bytes = large(2 * UNIT + 10);
    let (node, digest) = Node::with_cold(&bytes, settings()).await;
    let head = ask(&node, "HEAD", &path(&digest), None).await;
    assert_eq!((head.status(), text(head.headers(), &CONTENT_LENGTH)), (StatusCode::OK, "8388618"));
    let etag = text(head.headers(), &ETAG).to_owned();
    let same = ask(&node, "GET", &path(&digest), Some((IF_NONE_MATCH, &etag))).await;
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(node.fixture.registry.metrics.cold_bytes.get(), 0, "for that nothing is fetched");

    let part = ask(&node, "GET", &path(&digest), Some((RANGE, "bytes=8388600-"))).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(text(part.headers(), &CONTENT_RANGE), "bytes 8388600-8388617/8388618");
    assert_eq!(text(part.headers(), &CONTENT_LENGTH), "18");
    assert!(part.into_body().collect().await.unwrap().to_bytes() == bytes[8_388_600..]);
    let beyond = ask(&node, "GET", &path(&digest), Some((RANGE, "bytes=8388618-"))).await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let other = ask(&node, "GET", &path(&digest), Some((IF_MATCH, "\"other\""))).await;
    assert_eq!(other.status(), StatusCode::PRECONDITION_FAILED);
}

/// An answer without a body created a file of the blob's size.
#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_fails_stages_nothing() {
    let (node, digest) = Node::with_cold(&large(UNIT + 10), settings()).await;
    // Staged files are in this directory. Without it, staging fails.
    std::fs::remove_dir_all(node.fixture.folder.path().join("uploads")).unwrap();
    let etag = format!("\"{digest}\"");
    let same = ask(&node, "GET", &path(&digest), Some((IF_NONE_MATCH, &etag))).await;
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    let other = ask(&node, "GET", &path(&digest), Some((IF_MATCH, "\"other\""))).await;
    assert_eq!(other.status(), StatusCode::PRECONDITION_FAILED);
    let absent = Digest::of(crate::oci::Algorithm::Sha256, b"absent");
    let missing = ask(&node, "GET", &path(&absent), Some((IF_MATCH, "\"other\""))).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert!(ask(&node, "GET", &path(&digest), None).await.status().is_server_error(), "the test would notice");
}

/// The parts of a multipart answer. Checks that its lengths are exact.
async fn parts(answer: http::Response<axum::body::Body>) -> Vec<(String, Vec<u8>)> {
    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(text(answer.headers(), &ACCEPT_RANGES), "bytes");
    let length = text(answer.headers(), &CONTENT_LENGTH).to_owned();
    let boundary = text(answer.headers(), &CONTENT_TYPE).strip_prefix("multipart/byteranges; boundary=").unwrap();
    let (head, tail) = (format!("--{boundary}\r\n"), format!("--{boundary}--\r\n"));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(length, body.len().to_string());
    let mut rest = &body[..];
    let mut all = Vec::new();
    while rest != tail.as_bytes() {
        rest = rest.strip_prefix(head.as_bytes()).unwrap();
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let fields = String::from_utf8(rest[..end].to_vec()).unwrap();
        let range = fields.strip_prefix("Content-Range: bytes ").unwrap();
        let range = range.strip_suffix("\r\nContent-Type: application/octet-stream").unwrap();
        let (first, last) = range.split_once('/').unwrap().0.split_once('-').unwrap();
        let length = last.parse::<usize>().unwrap() + 1 - first.parse::<usize>().unwrap();
        let content = &rest[end + 4..];
        all.push((range.to_owned(), content[..length].to_vec()));
        rest = content[length..].strip_prefix(b"\r\n").unwrap();
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges_are_a_part_each_in_the_order_asked_wherever_the_blob_is() {
    let cold = large(2 * UNIT + 10);
    let (node, cold_digest) = Node::with_cold(&cold, settings()).await;
    let (file, small) = (large(300_000), large(2_000));
    let blobs = [
        (node.fixture.push_blob(&small).await, small),
        (node.fixture.push_blob(&file).await, file),
        (cold_digest.clone(), cold),
    ];
    for (digest, bytes) in &blobs {
        let size = bytes.len();
        let asked = format!("bytes=10-19,0-9,{size}-,9-10,-3");
        let got = parts(ask(&node, "GET", &path(digest), Some((RANGE, &asked))).await).await;
        let part = |first: usize, last: usize| (format!("{first}-{last}/{size}"), bytes[first..=last].to_vec());
        assert!(got == [part(10, 19), part(0, 9), part(9, 10), part(size - 3, size - 1)], "of {size} bytes");
    }
    assert_eq!(node.fixture.registry.metrics.cold_bytes.get(), UNIT + 10, "the first and the last unit");
    let (digest, bytes) = &blobs[2];
    let flood = ask(&node, "GET", &path(digest), Some((RANGE, "bytes=0-,0-0"))).await;
    assert_eq!(flood.status(), StatusCode::OK);
    assert!(flood.into_body().collect().await.unwrap().to_bytes() == bytes[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_cannot_be_had_sends_clients_to_the_next_mirror() {
    let (node, digest) = Node::with_cold(&large(UNIT + 1), Settings::default()).await;
    node.faults.always(Call::Get, Fault::Fail(unavailable));
    let answer = ask(&node, "GET", &path(&digest), None).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text(answer.headers(), &RETRY_AFTER), "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_failure_cuts_the_body() {
    let bytes = large(3 * UNIT);
    let (node, digest) = Node::with_cold(&bytes, settings()).await;
    node.faults.at(Call::Get, 0, Fault::BreakAfter(UNIT, unavailable));
    node.faults.always(Call::Get, Fault::Fail(unavailable));
    let answer = ask(&node, "GET", &path(&digest), None).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.into_body().collect().await.is_err(), "never a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_whether_the_node_can_be_lost() {
    let mut node = Node::new(Duration::from_hours(1), settings());
    node.fixture.push_blob(b"only here").await;
    for (path, said) in [("/", "safe to close: no, 1 blob, 9 B"), ("/readyz", r#""backlog_bytes":9"#)] {
        let answer = ask(&node, "GET", path, None).await;
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains(said), "{path}");
    }
    node.start();
    node.until("read back", |node| node.durability().is_safe()).await;
    let answer = ask(&node, "GET", "/readyz", None).await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("nothing lacks a copy, by the records"));
    node.stop().await;
}
