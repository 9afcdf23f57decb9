//! Who may write.

use axum::body::Body;
use http::Request;

use crate::ApiKeys;
use crate::http::tests::{TestPortal, get, text};

#[tokio::test]
async fn every_write_needs_a_key_and_no_read_does() {
    let portal = TestPortal::with(|options| options.api_keys = ApiKeys::new(["secret", "other"]));
    let link = "AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA";
    for path in [
        "/skynet/skyfile?filename=a".to_owned(),
        "/skynet/restore".to_owned(),
        "/skynet/blocklist".to_owned(),
        "/skynet/registry".to_owned(),
        format!("/skynet/pin/{link}"),
        format!("/skynet/unpin/{link}"),
    ] {
        let status = async |name: &str, value: &str| {
            let request = Request::post(&path).header(name, value).body(Body::empty()).unwrap();
            let response = portal.send(request).await;
            let status = response.status().as_u16();
            if status == 401 {
                assert!(response.headers().contains_key("www-authenticate"));
                assert!(text(response).await.contains("API authentication failed"));
            }
            status
        };
        // "any:wrong", "any:secret", "secret"
        for (name, value) in [
            ("x-nothing", "x"),
            ("skynet-api-key", "wrong"),
            ("cookie", "skynet-jwt=secret"),
            ("authorization", "Basic YW55Ondyb25n"),
            ("authorization", "Basic c2VjcmV0"),
            ("authorization", "Bearer secret"),
        ] {
            assert_eq!(status(name, value).await, 401, "{path} {name}");
        }
        for (name, value) in [("skynet-api-key", "other"), ("authorization", "Basic YW55OnNlY3JldA==")] {
            assert_ne!(status(name, value).await, 401, "{path} {name}");
        }
    }
    for path in ["/skynet/stats", "/skynet/portals", "/skynet/blocklist"] {
        assert_eq!(portal.send(get(path)).await.status(), 200, "{path}");
    }
}
