//! Public local content at skylinks is served exactly as a portal serves it.

use super::*;

#[tokio::test]
async fn what_is_pushed_is_what_a_portal_serves_at_the_same_skylink() {
    let (node, portal) = (Node::new(), Uploader::new());
    // Read whole and verified; sent from a file; one unit with a fanout; two units and more.
    for length in [0, 1, 1000, 70_000, 4 * MIB - 300, 4 * MIB - 100, 4 * MIB, 9 * MIB + 5] {
        let content = noise(length, length as u64);
        let digest = node.push(&content).await;
        let link = portal.upload(&digest, &content).await;
        for path in [
            format!("/{link}"),
            format!("/skynet/skylink/{link}"),
            format!("/{}", link.parse::<Skylink>().unwrap().to_base32()),
            format!("/skynet/metadata/{link}"),
            format!("/skynet/basesector/{link}"),
            format!("/skynet/trustless/basesector/{link}"),
            format!("/skynet/trustless/file/v1/{link}"),
            format!("/skynet/resolve/{link}"),
        ] {
            let (here, there) = (node.get(&path).await, portal.get(&path).await);
            assert_eq!(here.status(), there.status(), "{length} {path}");
            for name in ["etag", "content-length", "cache-control", "skynet-skylink", "accept-ranges"] {
                assert_eq!(here.headers().get(name), there.headers().get(name), "{length} {path} {name}");
            }
            assert!(bytes(here).await == bytes(there).await, "{length} {path}");
        }
        assert!(bytes(node.get(&format!("/{link}")).await).await == content, "{length}");
    }
}

#[tokio::test]
async fn content_goes_out_as_a_file_to_keep() {
    let node = Node::new();
    let page = b"<html><script>alert(1)</script></html>".repeat(4000);
    let digest = node.push(&page).await;
    let link = Uploader::new().upload(&digest, &page).await;
    for query in ["", "?attachment=false"] {
        let response = node.get(&format!("/{link}{query}")).await;
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "application/octet-stream");
        assert_eq!(header("x-content-type-options"), "nosniff");
        let disposition = format!("attachment; filename=\"{}\"", digest.file_name());
        assert!(header("content-disposition").starts_with(&disposition), "{}", header("content-disposition"));
        assert_eq!(header("skyberth-gateway"), "read-only");
        assert!(response.headers().contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn ranges_and_conditions_are_those_of_a_portal() {
    let node = Node::new();
    let content = noise(9 * MIB, 3);
    let digest = node.push(&content).await;
    let link = Uploader::new().upload(&digest, &content).await;
    let ask = |name: &'static str, value: String| {
        node.send(Request::get(format!("/{link}")).header(name, value).body(Body::empty()).unwrap())
    };
    // Across the border of two units, and up to the end.
    let (first, last) = (4 * MIB - 10, 8 * MIB + 10);
    let part = ask("range", format!("bytes={first}-{last}")).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], format!("bytes {first}-{last}/{}", content.len()));
    assert!(bytes(part).await == content[first..=last]);
    assert!(bytes(ask("range", "bytes=-7".to_owned()).await).await == content[content.len() - 7..]);
    let several = ask("range", "bytes=0-1,4194303-4194305".to_owned()).await;
    assert!(several.headers()["content-type"].to_str().unwrap().starts_with("multipart/byteranges"));
    assert_eq!(ask("range", format!("bytes={}-", content.len())).await.status(), 416);
    let etag = node.get(&format!("/{link}")).await.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(ask("if-none-match", etag).await.status(), StatusCode::NOT_MODIFIED);
    let head = node.send(Request::head(format!("/{link}")).body(Body::empty()).unwrap()).await;
    assert_eq!(head.headers()["content-length"], content.len().to_string());
    assert!(bytes(head).await.is_empty());
}

#[tokio::test]
async fn nothing_can_be_written() {
    let node = Node::new();
    let link = "AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA";
    let (pin, unpin) = (format!("/skynet/pin/{link}"), format!("/skynet/unpin/{link}"));
    for path in ["/skynet/skyfile", "/skynet/restore", "/skynet/registry", "/skynet/blocklist", &pin, &unpin] {
        let response = node.send(Request::post(path).body("{}".into()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
        let answer: serde_json::Value = serde_json::from_slice(&bytes(response).await).unwrap();
        assert!(answer["message"].as_str().unwrap().contains("read-only gateway"), "{path}: {answer}");
    }
    for version in ["1.0.0", ""] {
        let tus = Request::post("/skynet/tus").header("tus-resumable", version).header("upload-length", "5");
        assert_eq!(node.send(tus.body(Body::empty()).unwrap()).await.status(), StatusCode::FORBIDDEN);
    }
    let put = Request::put(format!("/{link}")).body(Body::empty()).unwrap();
    assert_eq!(node.send(put).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(node.status(&format!("/{link}")).await, 404);
    assert_eq!(node.send(Request::head("/").body(Body::empty()).unwrap()).await.status(), 200);
    let stats = bytes(node.get("/skynet/stats").await).await;
    let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
    assert_eq!((&stats["gateway"], &stats["profile"]), (&true.into(), &"4MiB/1+4".into()));
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_its_record_too() {
    let node = Node::new();
    for length in [500, 5 * MIB] {
        let content = noise(length, 1);
        let digest = node.push(&content).await;
        let link = Uploader::new().upload(&digest, &content).await;
        assert_eq!(node.status(&format!("/{link}")).await, 200);
        node.fixture
            .registry
            .delete_blob(&crate::service::Caller::local(), &node.fixture.repository, &digest, None)
            .await
            .unwrap();
        assert_eq!(node.status(&format!("/{link}")).await, 404, "{length}");
        assert_eq!(count(&node), 1);
        node.catch_up().await;
        node.gateway.sweep().await.unwrap();
        assert_eq!(count(&node), 0);
        // After a second push it is there again.
        node.push(&content).await;
        assert!(bytes(node.get(&format!("/{link}")).await).await == content);
        node.fixture
            .registry
            .delete_blob(&crate::service::Caller::local(), &node.fixture.repository, &digest, None)
            .await
            .unwrap();
        node.catch_up().await;
        node.gateway.sweep().await.unwrap();
    }
}

#[tokio::test]
async fn what_only_private_repositories_hold_is_not_served() {
    let node = private("4MiB/1+4");
    for length in [5000, 5 * MIB] {
        let content = noise(length, 2);
        let digest = node.push(&content).await;
        let link = Uploader::new().upload(&digest, &content).await;
        for path in ["", "skynet/skylink/", "skynet/metadata/", "skynet/basesector/", "skynet/trustless/basesector/"] {
            assert_eq!(node.status(&format!("/{path}{link}")).await, 404, "{length} {path}");
        }
        // One public repository that references it is enough.
        let other = Command::LinkBlob { repository: "open".parse().unwrap(), digest, size: length as u64 };
        node.fixture.registry.catalog().commit(vec![other]).await.unwrap();
        assert!(bytes(node.get(&format!("/{link}")).await).await == content, "{length}");
    }
}

#[tokio::test]
async fn what_is_not_here_is_not_served() {
    let node = Node::new();
    let (lost, cut) = (noise(100_000, 4), noise(5 * MIB, 5));
    let digests = [node.push(&lost).await, node.push(&cut).await];
    let portal = Uploader::new();
    let links = [portal.upload(&digests[0], &lost).await, portal.upload(&digests[1], &cut).await];
    fs::remove_file(node.fixture.file(&digests[0])).unwrap();
    let file = node.fixture.file(&digests[1]);
    let mut permissions = fs::metadata(&file).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "the file is ours")]
    permissions.set_readonly(false);
    fs::set_permissions(&file, permissions).unwrap();
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(100).unwrap();
    for link in &links {
        assert_eq!(node.status(&format!("/{link}")).await, 404);
    }
    // As a pull does.
    for _ in 0..500 {
        if !file.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the damaged file was not put aside");
}
