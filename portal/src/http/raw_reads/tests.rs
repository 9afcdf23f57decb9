//! Bytes of sectors, verified as a client does.

use skynet_formats::profile::SectorSize;
use skynet_formats::range_proof;
use skynet_formats::sector::sector_root;
use skynet_formats::skylink::{Skylink, Target};

use crate::http::tests::{TestPortal, bytes, get, text, upload};

const STANDARD: SectorSize = SectorSize::STANDARD;

#[tokio::test]
async fn a_base_sector_is_what_the_skylink_names() {
    let portal = TestPortal::new();
    let link = upload(&portal, "a", "some content").await;
    let response = portal.send(get(&format!("/skynet/basesector/{link}"))).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["skynet-skylink"], link.as_str());
    assert_eq!(response.headers()["content-length"], "4096");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert!(response.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    let sector = bytes(response).await;
    let Target::Sector { root, .. } = link.parse::<Skylink>().unwrap().target() else { panic!("v1") };
    assert_eq!(sector_root(STANDARD, &sector), root);
    assert_eq!(
        portal.send(get("/skynet/basesector/AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA")).await.status(),
        404
    );
    assert_eq!(portal.send(get("/skynet/basesector/no-skylink")).await.status(), 400);
}

#[tokio::test]
async fn trustless_reads_come_with_their_proof() {
    let portal = TestPortal::new();
    for content in ["x".to_owned(), "y".repeat(40_000), "z".repeat(4_194_000)] {
        let link = upload(&portal, "a", content).await;
        let Target::Sector { root, fetch_size, .. } = link.parse::<Skylink>().unwrap().target() else { panic!("v1") };
        let response = portal.send(get(&format!("/skynet/trustless/basesector/{link}"))).await;
        assert_eq!(response.status(), 200);
        let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
        let answer = bytes(response).await;
        assert_eq!(answer.len(), length);
        let (content, proof) = answer.split_at(fetch_size as usize);
        range_proof::verify(STANDARD, &root, 0, content, proof).unwrap();
    }
}

#[tokio::test]
async fn any_bytes_of_a_sector_can_be_read_by_its_root() {
    let portal = TestPortal::new();
    let link = upload(&portal, "a", vec![7; 5 << 20]).await;
    let skyfile = portal.portal().stores().unwrap().skyfiles.open(&link.parse().unwrap()).await.unwrap().unwrap();
    let root = skyfile.roots().nth(2).unwrap();
    let path = |offset: &str, length: &str| format!("/skynet/root?root={root}&offset={offset}&length={length}");
    let read = bytes(portal.send(get(&path("1048570", "10"))).await).await;
    assert_eq!(read, [7, 7, 7, 7, 7, 7, 0, 0, 0, 0]);
    assert_eq!(bytes(portal.send(get(&path("0", "4194304"))).await).await.len(), 4_194_304);
    for (path, status, message) in [
        ("/skynet/root".to_owned(), 400, "no root hash provided"),
        (format!("/skynet/root?root={root}&length=1"), 400, "no offset provided"),
        (path("x", "1"), 400, "unable to parse 'offset' parameter"),
        (path("4194304", "1"), 400, "not within a sector"),
        (path("18446744073709551615", "2"), 400, "not within a sector"),
        (format!("/skynet/root?root={}&offset=0&length=1", "0".repeat(64)), 404, "root not found"),
    ] {
        let response = portal.send(get(&path)).await;
        assert_eq!(response.status(), status, "{path}");
        assert!(text(response).await.contains(message), "{path}");
    }
}
