//! What web pages may request from a registry.

use std::time::Duration;

use http_body_util::BodyExt as _;
use serving::WebPages;
use tower::ServiceExt as _;

use super::*;
use crate::access::Access;
use crate::http::{HttpOptions, router};
use crate::testing::Fixture;

/// A registry on a loopback address, whose users may use a page at `http://ui.example`.
struct Site {
    _fixture: Fixture,
    door: Door,
}

impl Site {
    fn new() -> Self {
        let (fixture, door) = (Fixture::new(Duration::from_hours(1)), Door::default());
        let pages = WebPages {
            names: Some(vec!["registry.lan".to_owned()]),
            url: "https://registry.example".to_owned(),
            origins: vec!["http://ui.example".to_owned()],
        };
        let options = HttpOptions { pages, ..HttpOptions::for_tests() };
        let access = Arc::new(Access::open_to_all());
        door.open(Arc::clone(&fixture.registry), access, Arc::clone(&fixture.registry.metrics), options);
        Site { _fixture: fixture, door }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let request =
            headers.iter().fold(http::Request::builder().method(method).uri(path), |request, (name, value)| {
                request.header(*name, *value)
            });
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))));
        let (head, body) = router(self.door.clone()).oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }
}

const BEGIN: (&str, &str) = ("POST", "/v2/a/blobs/uploads/");

/// A `no-cors` POST from any page opened sessions and stored blobs.
#[tokio::test]
async fn foreign_pages_write_nothing() {
    let site = Site::new();
    let host = ("host", "127.0.0.1:5000");
    for foreign in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:3000"),
        ("sec-fetch-site", "cross-site"),
    ] {
        for (method, path) in [BEGIN, ("PUT", "/v2/a/manifests/v1"), ("DELETE", "/v2/a/manifests/v1")] {
            let (status, said) = site.send(method, path, &[host, foreign]).await;
            assert_eq!(status, 403, "{method} {foreign:?}");
            assert!(said.contains("DENIED"), "{said}");
        }
        assert_eq!(site.send("GET", "/v2/", &[host, foreign]).await.0, 200, "a read tells a page nothing");
    }
    for own in [
        &[][..],
        &[("origin", "http://127.0.0.1:5000"), ("sec-fetch-site", "same-origin")],
        &[("origin", "https://registry.example")],
        &[("origin", "http://ui.example"), ("sec-fetch-site", "cross-site")],
        &[("user-agent", "docker/29")],
    ] {
        assert_eq!(site.send(BEGIN.0, BEGIN.1, &[&[host], own].concat()).await.0, 202, "{own:?}");
    }
}

/// A page whose name resolves to this machine has the same origin as the registry.
#[tokio::test]
async fn another_name_is_not_answered_to() {
    let site = Site::new();
    for (method, path) in [BEGIN, ("GET", "/v2/"), ("GET", "/v2/_catalog"), ("GET", "/"), ("GET", "/metrics")] {
        let rebound = [("host", "evil.example:5000"), ("origin", "http://evil.example:5000")];
        let (status, said) = site.send(method, path, &rebound).await;
        assert_eq!(status, 403, "{method} {path}");
        assert!(said.contains("server.hosts"), "{said}");
    }
    for host in [
        "127.0.0.1:5000",
        "10.1.2.3:5000",
        "[::1]:5000",
        "localhost",
        "a.localhost",
        "registry.lan",
        "registry.example",
    ] {
        assert_eq!(site.send(BEGIN.0, BEGIN.1, &[("host", host)]).await.0, 202, "{host}");
    }
    // kubelet uses a name, Prometheus an address.
    for path in ["/livez", "/readyz"] {
        assert_eq!(site.send("GET", path, &[("host", "node-7.lan")]).await.0, 200, "{path}");
    }
    assert_eq!(site.send("GET", "/metrics", &[("host", "10.0.0.7:5000")]).await.0, 200);
}
