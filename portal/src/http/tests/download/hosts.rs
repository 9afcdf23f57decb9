//! Skylinks with a host of their own.

use super::*;

#[tokio::test]
async fn paths_on_a_skylinks_host_are_those_of_the_skyfile() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&APP, |_| ()).await;
    let host = format!("{}.localhost:9980", link.to_base32());
    for (path, content) in [("/", "<h1>hello</h1>"), ("/about.html", "about"), ("/css/style.css?x=y", "body {}")] {
        let response = portal.get_with(path, &[("host", &host)]).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "skynet-skylink"), link.to_string());
        assert_eq!(header(&response, "skynet-portal-api"), "http://localhost:9980", "the portal, not the skylink");
        assert_eq!(text(response).await, content, "{path}");
    }
    for path in ["/skynet/stats", "/livez", "/metrics", &format!("/{link}/")] {
        assert_eq!(portal.get_with(path, &[("host", &host)]).await.status(), 404, "{path} is no file of the app");
    }
    let upper = host.to_uppercase();
    assert_eq!(portal.get_with("/", &[("host", &upper)]).await.status(), 200);
}

#[tokio::test]
async fn the_host_of_http2_stands_in_the_target() {
    let portal = TestPortal::new();
    let link = portal.upload_raw("a.txt", b"abc").await;
    let target = format!("http://{}.localhost:9980/", link.to_base32());
    let request = Request::get(target).version(http::Version::HTTP_2).body(Body::empty()).unwrap();
    let response = portal.send(request).await;
    assert_eq!(header(&response, "skynet-portal-api"), "http://localhost:9980");
    assert_eq!(text(response).await, "abc");
}

#[tokio::test]
async fn another_host_is_the_portal() {
    let portal = TestPortal::new();
    let link = portal.upload_raw("a.txt", b"abc").await;
    for host in ["127.0.0.1:9980", "www.localhost", "portal.example", &format!("{}.example", link.to_base32())] {
        assert_eq!(portal.get_with(&format!("/{link}"), &[("host", host)]).await.status(), 200, "{host}");
    }
}
