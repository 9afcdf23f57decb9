//! Uploads over HTTP: the skylinks of real portals, and what is refused.

use axum::body::Body;
use futures_util::stream;
use http::{Request, Response};
use skynet_formats::skylink::Skylink;

use crate::http::tests::{TestPortal, text};

const BOUNDARY: &str = "------------------------abcdef";

fn raw(query: &str, body: &str) -> Request<Body> {
    Request::post(format!("/skynet/skyfile{query}"))
        .header("content-type", "application/octet-stream")
        .body(Body::from(body.to_owned()))
        .unwrap()
}

/// A form without a length, sent in pieces of `step` bytes. Each part has its disposition's parameters and its content.
fn form(query: &str, parts: &[(&str, &str)], step: usize) -> Request<Body> {
    let part = |(headers, content): &(&str, &str)| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {headers}\r\n\r\n{content}\r\n")
    };
    let body = parts.iter().map(part).chain([format!("--{BOUNDARY}--\r\n")]).collect::<Vec<_>>().concat();
    let pieces: Vec<_> = body.into_bytes().chunks(step).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    Request::post(format!("/skynet/skyfile/some/path{query}"))
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(Body::from_stream(stream::iter(pieces)))
        .unwrap()
}

async fn skylink(response: Response<Body>) -> String {
    assert_eq!(response.status(), 200, "{}", text(response).await);
    let header = response.headers()["skynet-skylink"].to_str().unwrap().to_owned();
    let body: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(body["skylink"], header);
    let parsed: Skylink = header.parse().unwrap();
    assert_eq!(body["bitfield"], parsed.bitfield());
    assert_eq!(body["merkleroot"], data_encoding::HEXLOWER.encode(&parsed.to_bytes()[2..]));
    header
}

async fn metadata(portal: &TestPortal, skylink: &str) -> String {
    let skyfile = portal.portal().stores().unwrap().skyfiles.open(&skylink.parse().unwrap()).await.unwrap().unwrap();
    String::from_utf8(skyfile.raw_metadata().to_vec()).unwrap()
}

#[tokio::test]
async fn forms_have_the_skylinks_of_real_portals() {
    let portal = TestPortal::new();
    for (query, headers, content, expected) in [
        (
            "",
            "name=\"file\"; filename=\"testdatakey\"",
            r#"{"_data":{"example":"This is some example JSON data."},"_v":2}"#,
            "AAA_uTgxYiKcqpGMLNe2V52fLc3FivZBZStLVqMSeHnGtQ",
        ),
        (
            "?tryfiles=",
            "name=\"file\"; filename=\"dk:646174614b657931\"\r\nContent-Type: application/json",
            r#"{"_data":{"message":"hi there"},"_v":2}"#,
            "AACDPHoC2DCV_kLGUdpdRJr3CcxCmKadLGPi6OAMl7d48w",
        ),
    ] {
        for step in [1, 7, 10_000] {
            assert_eq!(skylink(portal.send(form(query, &[(headers, content)], step)).await).await, expected);
        }
    }
}

#[tokio::test]
async fn a_raw_upload_has_name_length_and_mode_alone() {
    let portal = TestPortal::new();
    let link = skylink(portal.send(raw("?filename=a%20b&mode=644&errorpages=&tryfiles=", "xyz")).await).await;
    assert_eq!(metadata(&portal, &link).await, r#"{"filename":"a b","length":3,"mode":420}"#);
    let link = skylink(portal.send(raw("/ignored/path?filename=a", "")).await).await;
    assert_eq!(metadata(&portal, &link).await, r#"{"filename":"a","length":0}"#);
}

#[tokio::test]
async fn a_directory_keeps_its_paths() {
    let portal = TestPortal::new();
    let parts = [
        ("name=\"files[]\"; filename=\"index.html\"\r\nContent-Type: text/html", "<p>"),
        ("name=\"files[]\"; filename=\"sub dir/ü.txt\"\r\nMode: 600", "text"),
        ("name=\"files[]\"; filename=\"empty\"", ""),
        ("name=\"files[]\"; filename=\"404.html\"", "no\r\n--such"),
    ];
    let query = "?filename=app&errorpages=%7B%22404%22%3A%22%2F404.html%22%7D";
    let link = skylink(portal.send(form(query, &parts, 11)).await).await;
    let expected = concat!(
        r#"{"filename":"app","length":17,"subfiles":{"#,
        r#""404.html":{"filename":"404.html","offset":7,"len":10},"#,
        r#""empty":{"filename":"empty","offset":7},"#,
        r#""index.html":{"filename":"index.html","contenttype":"text/html","len":3},"#,
        r#""sub dir/ü.txt":{"mode":384,"filename":"sub dir/ü.txt","offset":3,"len":4}},"#,
        r#""tryfiles":["index.html"],"errorpages":{"404":"/404.html"}}"#
    );
    assert_eq!(metadata(&portal, &link).await, expected);
    let with_default = form("?filename=app&defaultpath=index.html", &parts[..1], 1000);
    let link = skylink(portal.send(with_default).await).await;
    assert!(metadata(&portal, &link).await.ends_with(r#""defaultpath":"/index.html"}"#));
}

#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let portal = TestPortal::new();
    let link = skylink(portal.send(raw("?filename=a&dryrun=true", "xyz")).await).await;
    assert!(portal.portal().stores().unwrap().skyfiles.open(&link.parse().unwrap()).await.unwrap().is_none());
    assert_eq!(skylink(portal.send(raw("?filename=a&dryrun=0", "xyz")).await).await, link);
    assert!(portal.portal().stores().unwrap().skyfiles.open(&link.parse().unwrap()).await.unwrap().is_some());
}

#[tokio::test]
async fn what_skyd_refuses_is_refused() {
    let portal = TestPortal::new();
    let file = ("name=\"file\"; filename=\"a\"", "x");
    for (request, message) in [
        (
            Request::post("/skynet/skyfile?filename=a").body(Body::from("x")).unwrap(),
            "failed parsing 'Content-Type' header",
        ),
        (raw("", "x"), "invalid file name"),
        (raw("?filename=../a", "x"), "invalid file name"),
        (raw("?filename=a&dryrun=maybe", "x"), "unable to parse 'dryrun' parameter"),
        (raw("?filename=a&mode=9", "x"), "unable to parse 'mode' parameter"),
        (raw("?filename=a&dryrun=true&force=true", "x"), "can not be combined"),
        (raw("?filename=a&defaultpath=b", "x"), "can only be set on multipart uploads"),
        (raw("?filename=a&skykeyname=k", "x"), "skykeys"),
        (form("", &[("name=\"other\"; filename=\"a\"", "x")], 1000), "illegal form name"),
        (form("", &[("name=\"file\"", "x")], 1000), "no filename provided"),
        (form("", &[("name=\"file\"; filename=\"/a\"", "x")], 1000), "invalid file name"),
        (form("", &[], 1000), "could not find multipart file"),
        (form("?filename=d", &[file, file], 1000), "two files have the same name"),
        (form("?defaultpath=b", &[file], 1000), "invalid default path"),
        (form("?defaultpath=a&disabledefaultpath=true", &[file], 1000), "mutually exclusive"),
        (form("?defaultpath=a&tryfiles=%5B%22a%22%5D", &[file], 1000), "not compatible with tryfiles"),
        (form("?tryfiles=a", &[file], 1000), "invalid tryfiles value"),
        (form("?tryfiles=%5B%22%2Fb%22%5D", &[file], 1000), "invalid tryfile"),
        (form("?errorpages=%7B%22404%22%3A%22%2Fb%22%7D", &[file], 1000), "invalid error page"),
        (form("?errorpages=%5B%5D", &[file], 1000), "invalid errorpages value"),
    ] {
        let response = portal.send(request).await;
        let status = response.status();
        let body = text(response).await;
        assert!(body.contains(message), "{body} does not say {message}");
        assert_eq!(status, 400, "{body}");
    }
}

#[tokio::test]
async fn limits_have_their_statuses() {
    let portal = TestPortal::with(|options| {
        options.max_upload = 100;
        options.max_metadata = 300;
    });
    assert_eq!(portal.send(raw("?filename=a", &"x".repeat(101))).await.status(), 413);
    let name = format!("name=\"file\"; filename=\"{}\"", "n".repeat(200));
    assert_eq!(portal.send(form("", &[(&name, "x")], 1000)).await.status(), 400);
    let held = portal.portal().stores().unwrap().skyfiles.writer().unwrap();
    let others: Vec<_> = (0..3).map(|_| portal.portal().stores().unwrap().skyfiles.writer().unwrap()).collect();
    assert_eq!(portal.send(raw("?filename=a", "x")).await.status(), 503);
    drop((held, others));
    assert_eq!(portal.send(raw("?filename=a", "x")).await.status(), 200);
    let full = TestPortal::with(|options| options.disk_reserve = u64::MAX);
    assert_eq!(full.send(raw("?filename=a", "x")).await.status(), 507);
}

#[tokio::test]
async fn a_form_without_end_or_with_endless_headers_is_refused() {
    let portal = TestPortal::new();
    let send = async |body: String| {
        let request = Request::post("/skynet/skyfile")
            .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
            .body(Body::from_stream(stream::iter(
                body.into_bytes().chunks(9000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>(),
            )))
            .unwrap();
        let response = portal.send(request).await;
        assert_eq!(response.status(), 400);
        text(response).await
    };
    let start = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n");
    assert!(send(format!("{start}\r\ncut off")).await.contains("incomplete"));
    assert!(send(format!("{start}X: {}", "y".repeat(200_000))).await.contains("unable to read multipart body"));
    assert!(send("z".repeat(200_000)).await.contains("unable to read multipart body"));
}
