//! Sectors in any profile, and content sectors requested by root.

use skynet_formats::base_sector;
use skynet_formats::profile::{Profile, SectorSize};
use skynet_formats::sector::{SectorRoot, sector_root};

use super::*;
use crate::oci::RepositoryName;

const PROFILES: [&str; 4] = ["64KiB/3+2", "4KiB/1+1", "4KiB/10+2", "4MiB/2+1"];

fn size_of(profile: &str) -> usize {
    profile.parse::<Profile>().unwrap().sector_size().bytes()
}

fn path(root: &SectorRoot, length: usize) -> String {
    format!("/skynet/root?root={root}&offset=0&length={length}")
}

/// The roots in a base sector, including those of parity.
async fn roots(portal: &Uploader, link: &str, profile: &str) -> Vec<SectorRoot> {
    let base = bytes(portal.get(&format!("/skynet/basesector/{link}")).await).await;
    let parts = base_sector::parse(&base, SectorSize::new(size_of(profile) as u64).unwrap()).unwrap();
    match parts.body {
        base_sector::Body::Content(_) => Vec::new(),
        base_sector::Body::Fanout(roots) => roots.iter().map(|root| SectorRoot::from_bytes(*root)).collect(),
    }
}

#[tokio::test]
async fn every_profile_is_served_as_a_portal_of_it_does() {
    for profile in PROFILES {
        let (node, portal, size) = (Node::of(profile), Uploader::of(profile, Vec::new()), size_of(profile));
        let chunk = profile.parse::<Profile>().unwrap().chunk_size() as usize;
        let large =
            if size == 4 * MIB { vec![chunk + 100] } else { vec![chunk, chunk + 1, 2 * chunk + 77, 5 * chunk / 2] };
        for length in [vec![0, 1, size - 300, size - 100, size], large].concat() {
            let content = noise(length, length as u64);
            let digest = node.push(&content).await;
            let link = portal.upload(&digest, &content).await;
            for path in
                ["", "skynet/metadata/", "skynet/basesector/", "skynet/trustless/file/v1/", "skynet/health/skylink/"]
            {
                let path = format!("/{path}{link}");
                let (here, there) = (node.get(&path).await, portal.get(&path).await);
                assert_eq!(here.status(), there.status(), "{profile} {length} {path}");
                let (here, mut there) = (bytes(here).await, bytes(there).await);
                if path.contains("health") {
                    // A gateway pins nothing.
                    there = String::from_utf8(there).unwrap().replace("\"pinned\":true", "\"pinned\":false").into();
                }
                assert!(here == there, "{profile} {length} {path}");
            }
            for root in roots(&portal, &link, profile).await {
                let (here, there) = (node.get(&path(&root, size)).await, portal.get(&path(&root, size)).await);
                assert_eq!(here.status(), there.status(), "{profile} {length} {root}");
                assert!(
                    here.status() != StatusCode::OK || bytes(here).await == bytes(there).await,
                    "{profile} {length}"
                );
            }
            let range = Request::get(format!("/{link}")).header("range", "bytes=-100").body(Body::empty()).unwrap();
            assert!(length == 0 || bytes(node.send(range).await).await == content[length.saturating_sub(100)..]);
        }
    }
}

#[tokio::test]
async fn content_that_is_too_long_for_a_skyfile_has_no_skylink() {
    let node = Node::of("4KiB/1+1");
    let content = noise(600_000, 1);
    node.push(&content).await;
    assert_eq!(count(&node), 0);
    assert!(!node.fixture.folder.path().join("gateway/sectors/00").exists());
}

#[tokio::test]
async fn hostile_sector_requests_are_refused() {
    let node = Node::of("4KiB/1+1");
    let content = noise(9000, 1);
    node.push(&content).await;
    let root = sector_root(SectorSize::new(4096).unwrap(), &content[..4096]);
    let of = |query: String| format!("/skynet/root?{query}");
    let good = bytes(node.get(&of(format!("root={root}&offset=64&length=4032"))).await).await;
    assert!(good == content[64..4096]);
    for (query, status) in [
        (format!("root={root}&offset=0&length=4097"), 400),
        (format!("root={root}&offset=1&length=4096"), 400),
        (format!("root={root}&offset={}&length=2", u64::MAX), 400),
        (format!("root={root}&offset=0&length=0"), 400),
        (format!("root={root}&offset=-1&length=1"), 400),
        ("root=../../state.json&offset=0&length=1".to_owned(), 400),
        (format!("root={}&offset=0&length=1", "0".repeat(64)), 404),
        (format!("root={}&offset=0&length=1", "f".repeat(64)), 404),
    ] {
        assert_eq!(node.status(&of(query.clone())).await, status, "{query}");
    }
    // Sectors of zeros have the same root in all content.
    let zeros = sector_root(SectorSize::new(4096).unwrap(), &[]);
    assert!(bytes(node.get(&path(&zeros, 4096)).await).await == [0; 4096]);
}

#[tokio::test]
async fn a_sector_is_served_as_long_as_somebody_may_read_content_with_it() {
    for profile in ["4KiB/1+1", "4KiB/2+1"] {
        let node = private(profile);
        let chunk = profile.parse::<Profile>().unwrap().chunk_size() as usize;
        let shared = noise(chunk, 1);
        let contents = [2, 3].map(|seed| [&shared[..], &noise(chunk, seed)].concat());
        let portal = Uploader::of(profile, Vec::new());
        let (mut digests, mut lists) = (Vec::new(), Vec::new());
        for content in &contents {
            let digest = node.push(content).await;
            let link = portal.upload(&digest, content).await;
            lists.push(roots(&portal, &link, profile).await);
            digests.push(digest);
        }
        let (first, own) = (path(&lists[0][0], 4096), path(&lists[0][lists[0].len() / 2], 4096));
        let other = path(&lists[1][lists[1].len() / 2], 4096);
        for path in [&first, &own, &other] {
            assert_eq!(node.status(path).await, 404, "private");
        }
        let open: RepositoryName = "open".parse().unwrap();
        let link = |number: usize| Command::LinkBlob {
            repository: open.clone(),
            digest: digests[number].clone(),
            size: contents[number].len() as u64,
        };
        node.fixture.registry.catalog().commit(vec![link(0)]).await.unwrap();
        assert_eq!((node.status(&first).await, node.status(&own).await, node.status(&other).await), (200, 200, 404));
        node.fixture.registry.catalog().commit(vec![link(1)]).await.unwrap();
        // The other skyfile still contains it.
        node.fixture.registry.delete_blob(&crate::service::Caller::local(), &open, &digests[0], None).await.unwrap();
        assert_eq!((node.status(&first).await, node.status(&own).await, node.status(&other).await), (200, 404, 200));
        node.fixture.registry.delete_blob(&crate::service::Caller::local(), &open, &digests[1], None).await.unwrap();
        for path in [&first, &own, &other] {
            assert_eq!(node.status(path).await, 404, "private again");
        }
    }
}

#[tokio::test]
async fn a_portal_fetches_from_a_gateway_as_from_a_peer() {
    for (profile, lengths) in
        [("4KiB/1+1", vec![100, 9000, 100_000]), ("64KiB/3+2", vec![500_000]), ("4MiB/1+4", vec![9 * MIB])]
    {
        let node = Node::of(profile);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = format!("http://{}", listener.local_addr().unwrap());
        let router = portal::http::router(Arc::clone(&node.portal));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        let fetcher = Uploader::of(profile, vec![peer]);
        for length in lengths {
            let content = noise(length, 7);
            let digest = node.push(&content).await;
            let link = Uploader::of(profile, Vec::new()).upload(&digest, &content).await;
            let answer = fetcher.get(&format!("/{link}")).await;
            assert_eq!(answer.status(), StatusCode::OK, "{profile} {length}");
            assert!(bytes(answer).await == content, "{profile} {length}");
        }
        serving.abort();
    }
}
