//! Restores of base sectors that clients made, sound and forged.

use futures_util::TryStreamExt;
use skynet_formats::base_sector::BaseSector;
use skynet_formats::fanout::Fanout;
use skynet_formats::profile::{Profile, SectorSize};

use crate::http::tests::{TestPortal, bytes, get, json, post, text, upload};

fn backup(skylink: &str, base: &[u8], content: &[u8]) -> Vec<u8> {
    let header =
        [b"\x0f\0\0\0\0\0\0\0Skyfile Backup\n\x07\0\0\0\0\0\0\0v1.5.5\n\x2e\0\0\0\0\0\0\0", skylink.as_bytes()];
    let mut body = header.concat();
    assert_eq!(body.len(), 92);
    body.extend_from_slice(base);
    if !content.is_empty() {
        body.resize(92 + SectorSize::STANDARD.bytes(), 0);
        body.extend_from_slice(content);
    }
    body
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 % 251) as u8).collect()
}

fn large(profile: &str, content: &[u8]) -> BaseSector {
    let profile: Profile = profile.parse().unwrap();
    let mut fanout = Fanout::new(profile);
    fanout.update(content);
    let metadata = format!(r#"{{"filename":"a","length":{}}}"#, content.len());
    BaseSector::large(profile, content.len() as u64, metadata.as_bytes(), &fanout.finish()).unwrap()
}

#[tokio::test]
async fn a_small_backup_is_restored_with_or_without_its_zeros() {
    let from = TestPortal::new();
    let link = upload(&from, "a", "small").await;
    let base = bytes(from.send(get(&format!("/skynet/basesector/{link}"))).await).await;
    for length in [400, 4096, SectorSize::STANDARD.bytes()] {
        let portal = TestPortal::new();
        let mut base = base.clone();
        base.resize(length, 0);
        let response = portal.send(post("/skynet/restore", backup(&link, &base, b""))).await;
        assert_eq!(response.status(), 200, "{length}");
        assert_eq!(json(response).await["skylink"], link);
        let again = bytes(portal.send(get(&format!("/skynet/basesector/{link}"))).await).await;
        assert_eq!(again, base[..length.min(4096)].iter().copied().chain(vec![0; 4096]).take(4096).collect::<Vec<_>>());
        assert!(portal.portal().stores().unwrap().skyfiles.is_pinned(&link.parse().unwrap()).await.unwrap());
    }
}

#[tokio::test]
async fn a_large_backup_of_any_layout_is_restored() {
    let portal = TestPortal::new();
    let content = noise(5 << 20);
    for profile in ["4MiB/1+4", "4MiB/2+3"] {
        let base = large(profile, &content);
        let link = base.skylink().to_string();
        let response = portal.send(post("/skynet/restore", backup(&link, base.bytes(), &content))).await;
        assert_eq!(response.status(), 200, "{}", text(response).await);
        let skyfile = portal.portal().stores().unwrap().skyfiles.open(&link.parse().unwrap()).await.unwrap().unwrap();
        let read: Vec<_> = skyfile.stream(0, content.len() as u64).try_collect().await.unwrap();
        assert!(read.concat() == content, "{profile}");
    }
}

/// A restored skyfile could have 4 MiB of metadata, and each reader needed a multiple of that in memory.
#[tokio::test]
async fn a_backup_with_more_metadata_than_an_upload_may_have_is_refused() {
    let portal = TestPortal::with(|options| options.max_metadata = 1000);
    let backup_of = |padding: usize| {
        let metadata = format!(r#"{{"filename":"{}"}}"#, "a".repeat(padding));
        let base = BaseSector::small(SectorSize::STANDARD, metadata.as_bytes(), b"").unwrap();
        backup(&base.skylink().to_string(), base.bytes(), b"")
    };
    let fits = 1000 - r#"{"filename":""}"#.len();
    assert_eq!(portal.send(post("/skynet/restore", backup_of(fits))).await.status(), 200);
    let response = portal.send(post("/skynet/restore", backup_of(fits + 1))).await;
    assert_eq!(response.status(), 400);
    assert!(text(response).await.contains("metadata exceeds the limit of 1000 bytes"));
}

#[tokio::test]
async fn what_does_not_belong_together_is_refused() {
    let portal = TestPortal::new();
    let content = noise(5 << 20);
    let base = large("4MiB/1+4", &content);
    let link = base.skylink().to_string();
    let small = BaseSector::small(SectorSize::STANDARD, br#"{"filename":"a","length":1}"#, b"x").unwrap();
    let (small_link, no_metadata) =
        (small.skylink().to_string(), BaseSector::small(SectorSize::STANDARD, b"{}", b"").unwrap());
    let mut other = content.clone();
    other[5_000_000] ^= 1;
    for (body, message) in [
        (backup(&link, base.bytes(), &other), "the fanout is not that of the content"),
        (backup(&link, base.bytes(), &content[1..]), "bytes of content where the layout says"),
        (backup(&link, base.bytes(), &[&content[..], b"x"].concat()), "bytes of content where the layout says"),
        (backup(&link, base.bytes(), b""), "bytes of content where the layout says"),
        (backup(&link, small.bytes(), b""), "the skylink is not that of the base sector"),
        (backup(&small_link, small.bytes(), b"more"), "bytes of content where the layout says"),
        (backup(&no_metadata.skylink().to_string(), no_metadata.bytes(), b""), "invalid file name"),
        (backup(&small_link, &small.bytes()[..100], b""), "cut short"),
        (backup(&small_link, b"", b""), "too short"),
        (backup(&small_link, small.bytes(), b"")[..91].to_vec(), "it ends within the header"),
        (vec![b'x'; 200], "wrong header"),
    ] {
        let response = portal.send(post("/skynet/restore", body)).await;
        let status = response.status();
        let answer = text(response).await;
        assert!(status == 400 && answer.contains(message), "{status} {answer} for {message}");
    }
    assert!(portal.portal().stores().unwrap().skyfiles.open(&base.skylink()).await.unwrap().is_none());
}
