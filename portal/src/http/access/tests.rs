//! Authorization of writes and removals.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
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
        // The base64 texts are "any:wrong" and "secret"; below, "any:secret".
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

/// A browser on the portal's machine has a loopback address, too.
#[tokio::test]
async fn without_keys_only_programs_on_the_same_machine_take_away() {
    let portal = TestPortal::new();
    let link = crate::http::tests::upload(&portal, "a", "kept").await;
    let unpin = format!("/skynet/unpin/{link}");
    let block = format!(r#"{{"add":["{link}"]}}"#);
    let status = async |portal: &TestPortal, path: &str, client: Option<&str>, headers: &[(&str, &str)]| {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(block.clone())).unwrap();
        if let Some(client) = client {
            request.extensions_mut().insert(ConnectInfo(client.parse::<SocketAddr>().unwrap()));
        }
        let response = portal.send(request).await;
        let status = response.status().as_u16();
        if status == 403 {
            let said = text(response).await;
            assert!(said.contains("set portal.api_keys") || said.contains("a page of"), "{said}");
        }
        status
    };
    let here = ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"];
    let elsewhere = ["192.0.2.1:1", "10.0.0.1:1", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:1"];
    let marks = [
        ("origin", "http://app.example"),
        ("origin", "null"),
        ("origin", "http://localhost:9980"),
        ("sec-fetch-site", "same-origin"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "192.0.2.1"),
        ("forwarded", "for=192.0.2.1"),
        ("via", "1.1 proxy"),
        ("cf-connecting-ip", "192.0.2.1"),
        ("x-forwarded-host", "portal.example"),
        ("x-client-ip", "192.0.2.1"),
        ("host", "portal.example"),
    ];
    for path in [unpin.as_str(), "/skynet/blocklist", "/skynet/blacklist"] {
        for client in elsewhere {
            assert_eq!(status(&portal, path, Some(client), &[]).await, 403, "{path} {client}");
        }
        for mark in marks {
            let cookie = ("cookie", "skynet-jwt=anything");
            assert_eq!(status(&portal, path, Some(here[0]), &[mark, cookie]).await, 403, "{path} {mark:?}");
        }
    }
    assert!(portal.portal().stores().unwrap().skyfiles.is_pinned(&link.parse().unwrap()).await.unwrap());
    assert!(portal.portal().stores().unwrap().skyfiles.blocklist().hashes().is_empty());
    for client in here {
        assert_eq!(status(&portal, &unpin, Some(client), &[]).await, 204, "{client}");
    }
    let named = TestPortal::with(|options| options.url = "https://portal.example".to_owned());
    assert_eq!(status(&named, &unpin, Some(here[0]), &[]).await, 403, "others reach it over something");
}

/// With a trusted proxy on the same machine, an attached portal refused unpins of its own node.
#[tokio::test]
async fn a_program_beside_a_trusted_proxy_takes_away_and_the_proxy_does_not() {
    let loopback = || vec!["127.0.0.0/8".parse().unwrap()];
    let portal = TestPortal::with(|options| options.trusted_proxies = serving::TrustedProxies::new(loopback()));
    let link = crate::http::tests::upload(&portal, "a", "kept").await;
    let unpin = || Request::post(format!("/skynet/unpin/{link}"));
    for (name, value) in [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=_x")] {
        let proxied = unpin().header(name, value).body(Body::empty()).unwrap();
        assert_eq!(portal.send(proxied).await.status(), 403, "{name}: {value}");
    }
    assert_eq!(portal.send(unpin().body(Body::empty()).unwrap()).await.status(), 204);
}

/// Browsers send the password of Basic authentication with requests of any page.
#[tokio::test]
async fn with_a_key_one_takes_away_from_anywhere_but_a_foreign_page() {
    let portal = TestPortal::with(|options| {
        options.api_keys = ApiKeys::new(["secret"]);
        options.pages.origins = vec!["http://ui.example".to_owned()];
    });
    let unpin = async |origin: &str, name: &str, key: &str| {
        let mut request = Request::post("/skynet/unpin/AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA")
            .header("host", "portal.example")
            .header(name, key);
        if !origin.is_empty() {
            request = request.header("origin", origin);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 1))));
        portal.send(request).await.status().as_u16()
    };
    for origin in ["", "http://portal.example", "http://ui.example"] {
        assert_eq!(unpin(origin, "skynet-api-key", "secret").await, 204, "{origin}");
        assert_eq!(unpin(origin, "skynet-api-key", "other").await, 401, "{origin}");
        assert_eq!(unpin(origin, "cookie", "skynet-api-key=secret").await, 401, "{origin}");
    }
    for origin in ["http://app.example", "null"] {
        assert_eq!(unpin(origin, "authorization", "Basic YW55OnNlY3JldA==").await, 403, "{origin}");
        assert_eq!(unpin(origin, "skynet-api-key", "secret").await, 403, "{origin}");
    }
}

/// After DNS rebinding, a page could read and change everything.
#[tokio::test]
async fn a_portal_with_known_names_answers_to_no_other() {
    let names = || vec!["portal.lan".to_owned(), "*.portal.lan".to_owned()];
    let portal = TestPortal::with(|options| options.pages.names = Some(names()));
    let link = crate::http::tests::upload(&portal, "a", "kept").await;
    let status = async |host: &str, path: &str| {
        let request = Request::get(path).header("host", host).header("origin", "http://app.example");
        portal.send(request.body(Body::empty()).unwrap()).await.status().as_u16()
    };
    for host in ["127.0.0.1:9980", "[::1]", "10.0.0.1", "localhost:9980", "x.localhost", "portal.lan", "x.portal.lan"] {
        assert_eq!(status(host, &format!("/{link}")).await, 200, "{host}");
    }
    assert_eq!(status("evil.example", &format!("/{link}")).await, 403);
    assert_eq!(status("evil.example", "/nothing/here").await, 403);
    assert_eq!(status("evil.example", "/livez").await, 200);
}
