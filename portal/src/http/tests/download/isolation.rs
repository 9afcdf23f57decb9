//! Uploaded documents in a browser.

use super::*;

const NAVIGATION: [(&str, &str); 2] = [("sec-fetch-dest", "document"), ("sec-fetch-mode", "navigate")];

/// Only types on a list were sandboxed, so scripts of other types could be uploaded and run.
#[tokio::test]
async fn all_content_on_the_portals_origin_is_sandboxed() {
    let portal = TestPortal::new();
    for (name, declared, active) in [
        ("a.html", "", true),
        ("a.svg", "", true),
        ("a.xml", "", true),
        ("a.txt", "Text/HTML", true),
        ("a.txt", "application/xhtml+xml; charset=utf-8", true),
        ("a.txt", "multipart/x-mixed-replace; boundary=x", true),
        ("a.txt", "nonsense", true),
        ("a.txt", "text/plain;charset=gbk,text/html", true),
        ("a.pdf", "", true),
        ("a.txt", "", false),
        ("a.js", "", false),
        ("a.png", "", false),
    ] {
        let link = portal.upload_directory(&[(name, declared, "x")], |_| ()).await;
        for headers in [&[][..], &[("sec-fetch-mode", "cors")], &[("range", "bytes=0-0")]] {
            let response = portal.get_with(&format!("/{link}"), headers).await;
            assert!(response.status().is_success());
            assert_eq!(header(&response, "content-security-policy"), "sandbox", "{name} {declared}");
            assert_eq!(header(&response, "x-content-type-options"), "nosniff", "{name} {declared}");
        }
        let navigated = portal.get_with(&format!("/{link}"), &NAVIGATION).await.status();
        assert_eq!(navigated == 307, active, "{name} {declared}");
        let host = format!("{}.localhost", link.to_base32());
        let own = portal.get_with("/", &[("host", &host), NAVIGATION[0], NAVIGATION[1]]).await;
        assert_eq!((own.status().as_u16(), header(&own, "content-security-policy")), (200, ""), "{name} {declared}");
        assert_eq!(header(&own, "x-content-type-options"), "", "{name} {declared}");
    }
}

#[tokio::test]
async fn whatever_the_portals_origin_answers_has_a_policy() {
    let portal = TestPortal::new();
    for (path, policy) in [
        ("/", "default-src 'none'"),
        ("/nothing/here", "sandbox"),
        ("/skynet/stats", "sandbox"),
        ("/metrics", "sandbox"),
        ("/skynet/skylink/xyz", "sandbox"),
        ("/skynet/metadata/xyz", "sandbox"),
        ("/skynet/tus/xyz", "sandbox"),
    ] {
        let response = portal.get(path).await;
        assert_eq!(header(&response, "content-security-policy"), policy, "{path}");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff", "{path}");
    }
}

#[tokio::test]
async fn who_navigates_to_a_document_is_sent_to_its_own_host() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&APP, |_| ()).await;
    let base32 = link.to_base32();
    for (target, path) in [
        (format!("/{link}/"), "/".to_owned()),
        (format!("/skynet/skylink/{base32}/about.html?a=%20&b"), "/about.html?a=%20&b".to_owned()),
        (format!("/{link}/img/logo.svg"), "/img/logo.svg".to_owned()),
    ] {
        for navigation in NAVIGATION {
            let response = portal.get_with(&target, &[navigation]).await;
            assert_eq!(response.status(), 307, "{target}");
            assert_eq!(header(&response, "location"), format!("http://{base32}.localhost:9980{path}"));
            assert_eq!(header(&response, "cache-control"), "no-store");
        }
    }
    // A browser may show content without scripts here, and may save any content.
    for rest in ["/css/style.css", "/about.html?attachment=true", "/?format=zip", "/missing"] {
        let status = portal.get_with(&format!("/{link}{rest}"), &NAVIGATION).await.status().as_u16();
        assert_eq!(status, if rest == "/missing" { 404 } else { 200 }, "{rest}");
    }
    // A matching `If-None-Match` does not prevent the redirect.
    let etag = header(&portal.get(&format!("/{link}/")).await, "etag").to_owned();
    let headers = [NAVIGATION[0], ("if-none-match", etag.as_str())];
    assert_eq!(portal.get_with(&format!("/{link}/"), &headers).await.status(), 307);
}

#[tokio::test]
async fn a_cache_keeps_the_two_answers_apart() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&APP, |_| ()).await;
    for headers in [&[][..], &NAVIGATION[..]] {
        let response = portal.get_with(&format!("/{link}/"), headers).await;
        let vary: Vec<&str> = response.headers().get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(vary, ["Sec-Fetch-Dest, Sec-Fetch-Mode", "Origin"]);
    }
}

#[tokio::test]
async fn nobody_is_sent_to_a_host_that_may_not_be_there() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&APP, |_| ()).await;
    for host in ["192.0.2.7:9980", "portal.example", "localhost.example"] {
        let response = portal.get_with(&format!("/{link}/"), &[NAVIGATION[0], ("host", host)]).await;
        assert_eq!((response.status().as_u16(), header(&response, "content-security-policy")), (200, "sandbox"));
    }
    // A client that used a loopback address or a `localhost` name can reach the other host.
    for host in ["127.0.0.1:9980", "[::1]:9980", "LOCALHOST:9980", "www.localhost:9980"] {
        let response = portal.get_with(&format!("/{link}/"), &[NAVIGATION[0], ("host", host)]).await;
        let own = format!("http://{}.localhost:9980/", link.to_base32());
        assert_eq!((response.status().as_u16(), header(&response, "location")), (307, own.as_str()), "{host}");
    }
}

#[tokio::test]
async fn an_error_page_is_a_document_too() {
    let portal = TestPortal::new();
    let error_pages = |metadata: &mut Metadata| drop(metadata.error_pages.insert(404, "/about.html".to_owned()));
    let link = portal.upload_directory(&APP, error_pages).await;
    let response = portal.get_with(&format!("/{link}/missing"), &NAVIGATION).await;
    assert_eq!(response.status(), 307);
    let host = format!("{}.localhost", link.to_base32());
    let response = portal.get_with("/missing", &[("host", &host)]).await;
    assert_eq!((response.status().as_u16(), header(&response, "content-security-policy")), (404, ""));
}
