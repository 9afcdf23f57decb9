//! The headers that describe an answer's content.

use super::*;

#[tokio::test]
async fn types_are_declared_known_by_name_or_seen_in_the_bytes() {
    let portal = TestPortal::new();
    for (name, declared, content, kind) in [
        ("a.txt", "application/x-own", "a", "application/x-own"),
        ("a.css", "", "a", "text/css; charset=utf-8"),
        ("a.JS", "", "a", "text/javascript; charset=utf-8"),
        ("page", "", " <!doctype html><p>", "text/html; charset=utf-8"),
        ("note", "", "hello", "text/plain; charset=utf-8"),
        ("data", "", "\u{1}\u{2}", "application/octet-stream"),
        ("empty", "", "", "text/plain; charset=utf-8"),
        // A type with a line break is no valid header, so the name decides.
        ("a.json", "text/a\r\nx: y", "{}", "application/json"),
    ] {
        let link = portal.upload_directory(&[(name, declared, content)], |_| ()).await;
        assert_eq!(header(&portal.get(&format!("/{link}")).await, "content-type"), kind, "{name}");
    }
    let raw = portal.upload_raw("picture.webp", b"not one").await;
    let part = portal.get_with(&format!("/{raw}"), &[("range", "bytes=4-")]).await;
    assert_eq!(header(&part, "content-type"), "image/webp");
    let nameless = portal.upload_raw("nameless", b"%PDF-1.7 ...").await;
    let part = portal.get_with(&format!("/{nameless}"), &[("range", "bytes=4-")]).await;
    assert_eq!(header(&part, "content-type"), "application/pdf", "the first bytes count, whatever part is asked for");
}

#[tokio::test]
async fn what_is_immutable_may_be_kept() {
    let portal = TestPortal::new();
    let link = portal.upload_raw("a.txt", b"a").await;
    let response = portal.get(&format!("/{link}")).await;
    assert_eq!(header(&response, "cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(header(&response, "skynet-skylink"), link.to_string());
    assert_eq!(header(&response, "skynet-portal-api"), "http://localhost:9980");
    assert_eq!(header(&response, "skynet-server-api"), "http://localhost:9980");
    assert_eq!(header(&response, "skynet-proof"), "");
    let base32 = portal.get(&format!("/{}", link.to_base32())).await;
    assert_eq!(header(&base32, "skynet-skylink"), link.to_string());
    let missing = portal.get(&format!("/{link}/x")).await;
    assert_eq!(header(&missing, "cache-control"), "no-store");
}

#[tokio::test]
async fn names_are_for_saving() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&APP, |_| ()).await;
    for (rest, disposition) in [
        ("/", "inline; filename=\"index.html\""),
        ("/index.html", "inline; filename=\"index.html\""),
        ("/css/style.css?attachment=true", "attachment; filename=\"style.css\""),
        ("/?attachment=false", "inline; filename=\"index.html\""),
        ("/?format=concat", "inline; filename=\"app\""),
        ("/?format=zip&attachment=true", "attachment; filename=\"app.zip\""),
        ("/?format=tar", "attachment; filename=\"app.tar\""),
        ("/css?format=targz", "attachment; filename=\"css.tar.gz\""),
        ("/css", "attachment; filename=\"css.zip\""),
    ] {
        let response = portal.get(&format!("/{link}{rest}")).await;
        assert_eq!(header(&response, "content-disposition"), disposition, "{rest}");
    }
}

#[tokio::test]
async fn hostile_names_stay_names() {
    let portal = TestPortal::new();
    let link = portal.upload_raw("a\"; filename=\"b\r\nSet-Cookie: c\\", b"a").await;
    let response = portal.get(&format!("/{link}")).await;
    let expected = r#"inline; filename="a\"; filename=\"b\r\nSet-Cookie: c\\""#;
    assert_eq!(header(&response, "content-disposition"), expected);
    assert_eq!(header(&response, "set-cookie"), "");
}

#[tokio::test]
async fn the_layout_comes_when_asked_for() {
    let portal = TestPortal::new();
    let link = portal.upload_raw("a.txt", b"abc").await;
    assert_eq!(header(&portal.get(&format!("/{link}")).await, "skynet-file-layout"), "");
    let response = portal.get(&format!("/{link}?include-layout=true")).await;
    let layout = header(&response, "skynet-file-layout");
    assert_eq!(layout.len(), 198);
    assert!(layout.starts_with("0103000000000000001f00000000000000"), "{layout}");
}

#[tokio::test]
async fn metadata_comes_byte_for_byte() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&APP, |metadata| metadata.try_files = vec!["index.html".to_owned()]).await;
    let (mut metadata, _) = directory(&APP);
    metadata.try_files = vec!["index.html".to_owned()];
    let raw = String::from_utf8(metadata.to_bytes()).unwrap();
    let response = portal.get(&format!("/skynet/metadata/{}", link.to_base32())).await;
    assert_eq!(header(&response, "content-type"), "application/json");
    assert_eq!(header(&response, "content-length"), raw.len().to_string());
    assert_eq!(header(&response, "skynet-skylink"), link.to_string());
    assert_eq!(text(response).await, raw);
    let part = portal.get_with(&format!("/skynet/metadata/{link}"), &[("range", "bytes=2-9")]).await;
    assert_eq!((part.status().as_u16(), text(part).await.as_str()), (206, "filename"));
    assert_eq!(portal.get(&format!("/skynet/metadata/{link}?timeout=0")).await.status(), 400);
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_refused() {
    let portal = TestPortal::new();
    let link = portal.upload_raw("a.txt", b"abc").await;
    for query in ["format=rar", "attachment=maybe", "include-layout=x", "timeout=0", "timeout=901", "timeout=x"] {
        let (status, body) = portal.fetch(&format!("/{link}?{query}")).await;
        assert_eq!(status, 400, "{query}");
        assert!(body.contains(query.split('=').next().unwrap()) || body.contains("timeout"), "{body}");
    }
    assert_eq!(portal.fetch(&format!("/{link}?timeout=900&skykeyname=&skykeyid=")).await.0, 200);
}
