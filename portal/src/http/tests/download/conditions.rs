//! Entity tags and conditions.

use super::*;

const OTHER: &str = "\"0000000000000000000000000000000000000000000000000000000000000000\"";

#[tokio::test]
async fn a_known_version_is_not_sent_again() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&APP, |_| ()).await;
    let first = portal.get(&format!("/{link}/")).await;
    let etag = header(&first, "etag").to_owned();
    for rest in ["/", "/index.html", "/?foo=bar"] {
        for tag in [etag.clone(), format!("{OTHER}, W/{etag}"), "*".to_owned()] {
            let headers = [("if-none-match", tag.as_str()), ("origin", "http://app.example")];
            let response = portal.get_with(&format!("/{link}{rest}"), &headers).await;
            assert_eq!(response.status(), 304, "{rest} {tag}");
            assert_eq!(header(&response, "etag"), etag);
            assert_eq!(header(&response, "cache-control"), "public, max-age=31536000, immutable");
            assert_eq!(header(&response, "skynet-skylink"), link.to_string());
            assert_eq!(header(&response, "skynet-portal-api"), "http://localhost:9980");
            assert_eq!(header(&response, "access-control-allow-origin"), "http://app.example");
            assert_eq!(header(&response, "content-type"), "");
            assert!(bytes(response).await.is_empty());
        }
    }
    let changed = portal.get_with(&format!("/{link}/"), &[("if-none-match", OTHER)]).await;
    assert_eq!(changed.status(), 200);
}

#[tokio::test]
async fn tags_tell_paths_and_formats_apart() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&APP, |_| ()).await;
    let mut tags = Vec::new();
    for rest in ["/", "/about.html", "/?format=zip", "/?format=tar", "/?format=concat", "/css", "/css?format=tar"] {
        let response = portal.get(&format!("/{link}{rest}")).await;
        assert_eq!(response.status(), 200, "{rest}");
        let tag = header(&response, "etag").to_owned();
        assert!(tag.len() == 66 && !tags.contains(&tag), "{rest} {tag}");
        tags.push(tag);
    }
    // A directory is sent as a zip even without `format`, so both requests have one tag.
    let zip = portal.get(&format!("/{link}/css?format=zip")).await;
    assert_eq!(header(&zip, "etag"), tags[5]);
    let same = portal.get_with(&format!("/{link}/css"), &[("if-none-match", &tags[5])]).await;
    assert_eq!(same.status(), 304);
}

#[tokio::test]
async fn a_version_that_must_match_does() {
    let portal = TestPortal::new();
    let link = portal.upload_raw("a.txt", b"0123").await;
    let etag = header(&portal.get(&format!("/{link}")).await, "etag").to_owned();
    let weak = format!("W/{etag}");
    for (tag, status) in [(etag.as_str(), 200), ("*", 200), (OTHER, 412), (&weak, 412)] {
        assert_eq!(portal.get_with(&format!("/{link}"), &[("if-match", tag)]).await.status(), status, "{tag}");
    }
}
