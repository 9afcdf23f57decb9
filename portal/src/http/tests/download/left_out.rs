//! The answers for features that this portal does not have.

use super::*;

#[tokio::test]
async fn what_is_left_out_says_so() {
    let portal = TestPortal::new();
    for (method, host, path, word) in [
        ("GET", "localhost", "/hns/example/index.html", "Handshake"),
        ("GET", "localhost", "/hnsres/example", "Handshake"),
        ("GET", "skynet-mysky.hns.localhost:9980", "/", "MySky"),
        ("GET", "localhost", "/skynet/registry/subscription", "subscription"),
        ("POST", "localhost", "/skynet/createskykey?name=a", "skykeys"),
        ("GET", "localhost", "/skynet/skykeys", "skykeys"),
        ("POST", "account.localhost", "/api/login", "accounts"),
        ("GET", "localhost", "/api/user", "accounts"),
    ] {
        let response = portal.request(method, path, &[("host", host), ("origin", "http://app.example")]).await;
        assert_eq!(response.status(), 404, "{host}{path}");
        assert_eq!(header(&response, "access-control-allow-origin"), "http://app.example");
        let body = text(response).await;
        assert!(body.starts_with("{\"message\":\"") && body.contains(word), "{body}");
    }
    assert!(portal.fetch("/skynet/registry/subscriptions").await.1.contains("Refer to API.md"));
}
