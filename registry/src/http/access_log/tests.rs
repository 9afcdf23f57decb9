//! The log lines of a whole push, a pull, deletes, and hostile requests.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use serde_json::Value;
use serving::{AccessLog, TrustedProxies};
use tower::ServiceExt as _;

use crate::access::Access;
use crate::http::{Door, HttpOptions, Locations, router};
use crate::oci::{Algorithm, Digest};
use crate::testing::{Fixture, TestLog};

/// A registry with a captured log, behind a proxy at 10.0.0.1.
struct Site {
    fixture: Fixture,
    door: Door,
    lines: TestLog,
}

impl Site {
    fn new(access_log: AccessLog, locations: Locations) -> Self {
        let (lines, fixture, door) = (TestLog::new(), Fixture::new(Duration::from_hours(1)), Door::default());
        let trusted_proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let options = HttpOptions { trusted_proxies, access_log, locations, ..HttpOptions::for_tests() };
        let access = Arc::new(Access::open_to_all());
        door.open(Arc::clone(&fixture.registry), access, Arc::clone(&fixture.registry.metrics), options);
        Site { fixture, door, lines }
    }

    /// Sends a request through the proxy for 192.0.2.1, and reads the whole answer.
    async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Response<()> {
        let request = Request::builder().method(method).uri(path).header("x-forwarded-for", "192.0.2.1");
        let request =
            request.header("host", "inner").header("x-request-id", "proxy-7").header("user-agent", &b"judge/1\xff"[..]);
        self.send_as("10.0.0.1:1", request.body(body.into()).unwrap()).await
    }

    async fn send_as(&self, peer: &str, mut request: Request<Body>) -> Response<()> {
        request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
        let (head, body) = router(self.door.clone()).oneshot(request).await.unwrap().into_parts();
        body.collect().await.unwrap();
        Response::from_parts(head, ())
    }

    /// Sends a request and closes the connection before the answer.
    fn leave(&self, method: &str, path: &str, body: Body) {
        let mut request = Request::builder().method(method).uri(path).body(body).unwrap();
        request.extensions_mut().insert(ConnectInfo("192.0.2.7:1".parse::<SocketAddr>().unwrap()));
        let answer = router(self.door.clone()).oneshot(request).now_or_never();
        assert!(answer.is_none(), "{method} {path} was answered at once");
    }

    /// Pushes a manifest of an existing blob, tagged `v1`.
    async fn push_manifest(&self, blob: &Digest, content: &str, note: &str) -> Digest {
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"a/b",
            "digest":"{blob}","size":{}}},"layers":[],"annotations":{{"note":"{note}"}}}}"#,
            content.len()
        );
        let digest = Digest::of(Algorithm::Sha256, manifest.as_bytes());
        assert_eq!(self.send("PUT", "/v2/a/manifests/v1", manifest).await.status(), 201);
        digest
    }

    /// Pushes with a session, a PATCH, the closing PUT, and a manifest tagged `v1`. Returns the session's path, the
    /// blob and the manifest.
    async fn push(&self, content: &'static str) -> (String, Digest, Digest) {
        let blob = Digest::of(Algorithm::Sha256, content.as_bytes());
        let begun = self.send("POST", "/v2/a/blobs/uploads/", Body::empty()).await;
        let session = begun.headers()["location"].to_str().unwrap().to_owned();
        self.send("PATCH", &session, content).await;
        self.send("PUT", &format!("{session}?digest={blob}"), Body::empty()).await;
        let manifest = self.push_manifest(&blob, content, "").await;
        (session, blob, manifest)
    }
}

fn requests(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["message"] == "request").collect()
}

#[tokio::test]
async fn one_push_is_found_by_its_session_and_its_digests() {
    let site = Site::new(AccessLog::Writes, Locations::Relative);
    let (session, blob, manifest) = site.push("some content").await;
    let lines = site.lines.take();
    let requests = requests(&lines);
    let methods: Vec<_> = requests.iter().map(|line| line["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["POST", "PATCH", "PUT", "PUT"], "{lines:?}");
    let id = session.rsplit('/').next().unwrap();
    for line in &requests[..3] {
        assert!(line.to_string().contains(id), "{line} lacks its session");
    }
    assert_eq!((&requests[1]["received_bytes"], &requests[1]["status"]), (&12.into(), &202.into()));
    assert_eq!((&requests[2]["digest"], &requests[3]["digest"]), (&blob.as_str().into(), &manifest.as_str().into()));
    for line in requests {
        assert_eq!((&line["client"], &line["request.id"]), (&"192.0.2.1".into(), &"proxy-7".into()), "{line}");
        assert_eq!(line["user_agent"], "judge/1\\xff", "control characters are escaped");
    }
    let pushed = lines.iter().find(|line| line["message"] == "pushed a:v1").expect("a line of the push");
    assert_eq!((&pushed["digest"], &pushed["references"]), (&manifest.as_str().into(), &blob.as_str().into()));
}

#[tokio::test]
async fn a_pull_is_logged_at_its_end_with_the_bytes_that_were_sent() {
    let site = Site::new(AccessLog::All, Locations::Relative);
    let (_, blob, _) = site.push("some content").await;
    site.lines.take();
    site.send("GET", &format!("/v2/%61/blobs/{blob}?secret=1"), Body::empty()).await;
    site.send("HEAD", &format!("/v2/a/blobs/{blob}"), Body::empty()).await;
    let lines = site.lines.take();
    let sent: Vec<_> = lines.iter().map(|line| line["sent_bytes"].as_u64()).collect();
    assert_eq!(sent, [Some(12), Some(0)], "{lines:?}");
    assert_eq!(lines[0]["path"], format!("/v2/a/blobs/{blob}"), "the decoded name, and no query");
    assert_eq!(lines[0]["cut"], Value::Null);

    let mut request = Request::get(format!("/v2/a/blobs/{blob}")).body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo("192.0.2.7:1".parse::<SocketAddr>().unwrap()));
    drop(router(site.door.clone()).oneshot(request).await.unwrap());
    assert_eq!(site.lines.take()[0]["cut"], true, "a client that left got less");
}

#[tokio::test]
async fn deletes_and_moved_tags_are_logged_though_the_access_log_is_off() {
    let site = Site::new(AccessLog::Off, Locations::Relative);
    let (.., first) = site.push("one").await;
    let (_, blob, second) = site.push("two").await;
    let cancelled = site.send("POST", "/v2/a/blobs/uploads/", Body::empty()).await;
    site.send("DELETE", cancelled.headers()["location"].to_str().unwrap(), Body::empty()).await;
    site.send("DELETE", "/v2/a/manifests/v1", Body::empty()).await;
    site.send("DELETE", &format!("/v2/a/manifests/{second}"), Body::empty()).await;
    site.send("DELETE", &format!("/v2/a/blobs/{blob}"), Body::empty()).await;
    let lines = site.lines.take();
    let changes: Vec<_> = lines.iter().filter(|line| line["target"] != "skyberth::push").collect();
    let messages: Vec<_> = changes.iter().map(|line| line["message"].as_str().unwrap()).collect();
    let deleted = ["an upload was cancelled", "a tag was deleted", "a manifest was deleted", "a blob was deleted"];
    assert_eq!(messages, [&["a tag was moved"][..], &deleted].concat());
    assert_eq!((&changes[0]["from"], &changes[0]["to"]), (&first.as_str().into(), &second.as_str().into()));
    assert!(changes.iter().all(|line| line["client"] == "192.0.2.1" && line["request.id"] == "proxy-7"));
}

/// Both lines named the first manifest, so one of the two moves was missing from the log.
#[tokio::test]
async fn two_pushes_that_race_for_a_tag_log_each_move_once() {
    let site = Site::new(AccessLog::Off, Locations::Relative);
    let (_, blob, first) = site.push("one").await;
    site.lines.take();
    let racing = [site.push_manifest(&blob, "one", "a"), site.push_manifest(&blob, "one", "b")];
    let pushed = futures_util::future::join_all(racing).await;
    let lines = site.lines.take();
    let moves: Vec<_> = lines.iter().filter(|line| line["message"] == "a tag was moved").collect();
    let [one, other] = &moves[..] else { panic!("{lines:?}") };
    let (before, after) = if one["from"] == first.as_str() { (one, other) } else { (other, one) };
    assert_eq!((&before["from"], &before["to"]), (&first.as_str().into(), &after["from"]), "{lines:?}");
    assert!(pushed.iter().any(|digest| after["to"] == digest.as_str()) && after["to"] != before["to"], "{lines:?}");
}

/// A client that left before its answer appeared in neither the log nor the metrics.
#[tokio::test]
async fn a_request_whose_client_leaves_before_the_answer_is_logged_and_counted() {
    let site = Site::new(AccessLog::All, Locations::Relative);
    site.leave("PUT", "/v2/a/manifests/v1", Body::from_stream(futures_util::stream::pending::<io::Result<Bytes>>()));
    let lines = site.lines.take();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&line["method"], &line["path"]), (&"PUT".into(), &"/v2/a/manifests/v1".into()));
    assert_eq!((&line["cut"], &line["status"]), (&true.into(), &Value::Null));
    let page = site.fixture.registry.metrics.page(None).text;
    assert!(page.contains(r#"method="PUT",status="499"} 1"#), "{page}");
}

/// The answer had a request id that no log line had.
#[tokio::test]
async fn a_limit_that_refuses_requests_leaves_one_line() {
    let site = Site::new(AccessLog::Off, Locations::Relative);
    for _ in 0..site.fixture.registry.limits().max_uploads / 2 {
        site.send("POST", "/v2/a/blobs/uploads/", Body::empty()).await;
    }
    site.lines.take();
    for _ in 0..3 {
        assert_eq!(site.send("POST", "/v2/a/blobs/uploads/", Body::empty()).await.status(), 429);
    }
    let lines = site.lines.take();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&line["message"], &line["level"]), (&"request refused".into(), &"WARN".into()));
    assert_eq!(line["request.id"], "proxy-7");
}

/// The tag was deleted, but not logged: the log call came after a wait that ended when the client left.
#[tokio::test]
async fn a_delete_is_logged_though_its_client_leaves_at_once() {
    let site = Site::new(AccessLog::Off, Locations::Relative);
    let (_, blob, manifest) = site.push("some content").await;
    let begun = site.send("POST", "/v2/a/blobs/uploads/", Body::empty()).await;
    site.lines.take();
    for (path, message) in [
        (begun.headers()["location"].to_str().unwrap(), "an upload was cancelled"),
        ("/v2/a/manifests/v1", "a tag was deleted"),
        (&format!("/v2/a/manifests/{manifest}"), "a manifest was deleted"),
        (&format!("/v2/a/blobs/{blob}"), "a blob was deleted"),
    ] {
        site.leave("DELETE", path, Body::empty());
        site.fixture.registry.finish().await;
        let lines = site.lines.take();
        let [line] = &lines[..] else { panic!("{path}: {lines:?}") };
        assert_eq!((&line["message"], &line["client"]), (&message.into(), &"192.0.2.7".into()));
    }
    assert!(!site.fixture.file(&blob).exists(), "content that nobody holds goes");
}

#[tokio::test]
async fn nobody_but_a_trusted_proxy_names_clients_and_requests() {
    let site = Site::new(AccessLog::All, Locations::Requested);
    let lies = [("x-forwarded-for", "203.0.113.9"), ("x-request-id", "mine"), ("x-forwarded-host", "evil.example")];
    let mut request = Request::post("/v2/a/blobs/uploads/").header("host", "a.example:5000");
    for (name, value) in lies {
        request = request.header(name, value);
    }
    let answer = site.send_as("192.0.2.7:1", request.body(Body::empty()).unwrap()).await;
    let location = answer.headers()["location"].to_str().unwrap();
    assert!(location.starts_with("http://a.example:5000/v2/a/blobs/uploads/"), "{location}");
    let line = &site.lines.take()[0];
    assert_eq!(line["client"], "192.0.2.7");
    assert_ne!(line["request.id"], "mine");
}

#[tokio::test]
async fn a_path_that_is_no_route_stays_on_its_line() {
    let site = Site::new(AccessLog::All, Locations::Relative);
    site.send("GET", &format!("/v2/{}%0a%1b%5B2J", "x".repeat(2000)), Body::empty()).await;
    let line = &site.lines.take()[0];
    assert!(line["path"].as_str().unwrap().len() < 300, "{line}");
    assert_eq!((&line["route"], &line["status"]), (&"none".into(), &404.into()));
}

#[tokio::test]
async fn locations_begin_as_the_operator_wants() {
    for (locations, expected) in [
        (Locations::Relative, "/v2/a/"),
        (Locations::Requested, "http://inner/v2/a/"),
        (Locations::Fixed("https://registry.example".into()), "https://registry.example/v2/a/"),
    ] {
        let site = Site::new(AccessLog::Off, locations);
        let begun = site.send("POST", "/v2/a/blobs/uploads/", Body::empty()).await;
        let session = begun.headers()["location"].to_str().unwrap();
        assert!(session.starts_with(&format!("{expected}blobs/uploads/")), "{session}");
        let path = &session[session.find("/v2/").unwrap()..];
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let stored = site.send("PUT", &format!("{path}?digest={digest}"), "x").await;
        assert_eq!(stored.headers()["location"], format!("{expected}blobs/{digest}"));
    }
}
