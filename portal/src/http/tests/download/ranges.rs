//! Parts of a file.

use super::*;
use proptest::prelude::*;

const CONTENT: &str = "0123456789abcdef";

#[tokio::test]
async fn one_range() {
    let portal = TestPortal::new();
    let link = portal.upload_raw("a.bin", CONTENT.as_bytes()).await;
    for (range, status, part, content_range) in [
        ("bytes=0-0", 206, "0", "bytes 0-0/16"),
        ("bytes=4-", 206, "456789abcdef", "bytes 4-15/16"),
        ("bytes=-2", 206, "ef", "bytes 14-15/16"),
        ("bytes=10-99", 206, "abcdef", "bytes 10-15/16"),
        ("lines=1-2", 200, CONTENT, ""),
        ("bytes=x", 200, CONTENT, ""),
    ] {
        let response = portal.get_with(&format!("/{link}"), &[("range", range)]).await;
        assert_eq!(response.status(), status, "{range}");
        assert_eq!(header(&response, "content-range"), content_range, "{range}");
        assert_eq!(header(&response, "content-length"), part.len().to_string(), "{range}");
        assert_eq!(header(&response, "accept-ranges"), "bytes");
        assert_eq!(text(response).await, part, "{range}");
    }
}

#[tokio::test]
async fn a_range_beyond_the_end_is_refused() {
    let portal = TestPortal::new();
    let link = portal.upload_raw("a.bin", CONTENT.as_bytes()).await;
    let response = portal.get_with(&format!("/{link}"), &[("range", "bytes=16-")]).await;
    assert_eq!(response.status(), 416);
    assert_eq!(header(&response, "content-range"), "bytes */16");
    assert_eq!(header(&response, "content-type"), "application/json; charset=utf-8");
    assert_eq!(header(&response, "cache-control"), "no-store");
    let empty = portal.upload_raw("empty", b"").await;
    let response = portal.get_with(&format!("/{empty}"), &[("range", "bytes=0-")]).await;
    assert_eq!((response.status().as_u16(), header(&response, "content-length")), (200, "0"));
}

#[tokio::test]
async fn several_ranges_come_as_parts() {
    let portal = TestPortal::new();
    let link = portal.upload_raw("a.txt", CONTENT.as_bytes()).await;
    let response = portal.get_with(&format!("/{link}"), &[("range", "bytes=0-1,-1,4-5")]).await;
    assert_eq!(response.status(), 206);
    let kind = header(&response, "content-type").to_owned();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let length: usize = header(&response, "content-length").parse().unwrap();
    let body = text(response).await;
    assert_eq!(body.len(), length);
    let part = |range: &str, content: &str| {
        format!(
            "--{boundary}\r\nContent-Range: bytes {range}/16\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{content}\r\n"
        )
    };
    let parts = [part("0-1", "01"), part("15-15", "f"), part("4-5", "45")].concat();
    assert_eq!(body, format!("{parts}--{boundary}--\r\n"));
    let touching = portal.get_with(&format!("/{link}"), &[("range", "bytes=2-3,0-1,20-,1-2")]).await;
    let body = text(touching).await;
    let places: Vec<_> = ["2-3/16", "0-1/16", "1-2/16"].iter().map(|range| body.find(range).unwrap()).collect();
    assert!(places.is_sorted() && body.matches("Content-Range").count() == 3, "never merged, never reordered: {body}");
    let other = portal.get_with(&format!("/{link}"), &[("range", "bytes=0-1,4-5")]).await;
    assert!(!header(&other, "content-type").contains(boundary), "nobody can know the next boundary");
}

#[tokio::test]
async fn start_and_end_are_a_range_without_a_header() {
    let portal = TestPortal::new();
    let link = portal.upload_raw("a.bin", CONTENT.as_bytes()).await;
    for (query, status, part) in [
        ("start=2&end=5", 206, "234"),
        ("start=0&end=16", 206, CONTENT),
        ("start=14&end=99", 206, "ef"),
        ("start=3&end=3", 206, "3"),
    ] {
        let response = portal.get(&format!("/{link}?{query}")).await;
        assert_eq!(response.status(), status, "{query}");
        assert_eq!(text(response).await, part, "{query}");
    }
    assert_eq!(portal.get(&format!("/{link}?start=16&end=20")).await.status(), 416);
    for query in ["start=1", "end=1", "start=2&end=1", "start=a&end=b"] {
        assert_eq!(portal.fetch(&format!("/{link}?{query}")).await.0, 400, "{query}");
    }
    let both = portal.get_with(&format!("/{link}?start=0&end=1"), &[("range", "bytes=0-1")]).await;
    assert_eq!(both.status(), 400);
}

#[tokio::test]
async fn head_says_what_get_would_send() {
    let portal = TestPortal::new();
    let link = portal.upload_raw("a.txt", CONTENT.as_bytes()).await;
    for headers in [&[][..], &[("range", "bytes=1-3")], &[("range", "bytes=99-")]] {
        let get = portal.get_with(&format!("/{link}"), headers).await;
        let head = portal.request("HEAD", &format!("/{link}"), headers).await;
        assert_eq!(head.status(), get.status());
        for name in ["content-length", "content-range", "content-type", "etag", "cache-control", "skynet-skylink"] {
            assert_eq!(header(&head, name), header(&get, name), "{name}");
        }
        assert!(bytes(head).await.is_empty());
    }
}

#[test]
fn any_range_header_is_answered_in_full() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let portal = TestPortal::new();
    let link = runtime.block_on(portal.upload_raw("a.txt", CONTENT.as_bytes()));
    proptest!(|(range in "bytes=[0-9,-]{0,12}|.{0,8}")| {
        let Ok(range) = http::HeaderValue::from_str(&range) else { return Ok(()) };
        let request = Request::get(format!("/{link}")).header("range", range).body(Body::empty()).unwrap();
        let response = runtime.block_on(portal.send(request));
        let status = response.status().as_u16();
        prop_assert!([200, 206, 416].contains(&status));
        if status != 416 {
            let length: usize = header(&response, "content-length").parse().unwrap();
            prop_assert_eq!(runtime.block_on(bytes(response)).len(), length);
        }
    });
}
