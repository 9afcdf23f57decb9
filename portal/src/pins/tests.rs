//! The sectors that sweeps keep and remove.

use bytes::Bytes;
use skynet_formats::skylink::Skylink;
use tokio_util::sync::CancellationToken;

use super::Pins;
use crate::options::for_tests;
use crate::{Portal, PortalOptions};

fn portal() -> (Portal, tempfile::TempDir) {
    portal_of("4KiB/2+1")
}

fn portal_of(profile: &str) -> (Portal, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let options = PortalOptions { profile: profile.parse().unwrap(), ..for_tests() };
    (Portal::open(directory.path(), options).unwrap(), directory)
}

async fn upload(portal: &Portal, name: &str, content: Vec<u8>) -> Skylink {
    let metadata = format!(r#"{{"filename":"{name}","length":{}}}"#, content.len());
    let mut writer = portal.stores().unwrap().skyfiles.writer().unwrap();
    writer.write(Bytes::from(content)).await.unwrap();
    writer.finish(metadata.into_bytes()).await.unwrap()
}

fn sectors(portal: &Portal) -> u64 {
    let mut count = 0;
    let walked = portal.stores().unwrap().skyfiles.sectors().walk(|_, _| {
        count += 1;
        Ok(())
    });
    walked.unwrap();
    count
}

fn noise(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|n| ((n * 31 + n / 4096 * 7 + seed) % 251) as u8).collect()
}

#[tokio::test]
async fn a_sweep_removes_what_nothing_reaches_and_nothing_else() {
    let (portal, _directory) = portal();
    let kept = upload(&portal, "kept", noise(30_000, 1)).await;
    let shared = upload(&portal, "other name, same content", noise(30_000, 1)).await;
    let gone = upload(&portal, "gone", noise(20_000, 2)).await;
    assert_eq!(portal.stores().unwrap().sweep(&CancellationToken::new()).await.unwrap().sectors, 0);
    let before = sectors(&portal);
    assert!(portal.stores().unwrap().skyfiles.unpin(&gone).await.unwrap());
    assert!(!portal.stores().unwrap().skyfiles.unpin(&gone).await.unwrap(), "it is unpinned already");
    assert!(portal.stores().unwrap().skyfiles.unpin(&shared).await.unwrap());
    // Two base sectors, and 5 data pieces of 20,000 bytes. They are in chunks of two, so the last piece is zeros.
    let swept = portal.stores().unwrap().sweep(&CancellationToken::new()).await.unwrap();
    assert_eq!(swept.sectors, before - sectors(&portal));
    assert!((6..=8).contains(&swept.sectors), "{swept:?}");
    for (skylink, here) in [(kept, true), (gone, false), (shared, false)] {
        assert_eq!(portal.stores().unwrap().skyfiles.open(&skylink).await.unwrap().is_some(), here);
        assert_eq!(portal.stores().unwrap().skyfiles.is_pinned(&skylink).await.unwrap(), here);
    }
    let skyfile = portal.stores().unwrap().skyfiles.open(&kept).await.unwrap().unwrap();
    assert!(skyfile.roots().all(|root| portal.stores().unwrap().skyfiles.sectors().contains(&root).unwrap()));
}

#[tokio::test]
async fn an_upload_in_progress_keeps_its_sectors() {
    let (portal, _directory) = portal_of("64KiB/2+1");
    let mut writer = portal.stores().unwrap().skyfiles.writer().unwrap();
    let content = noise(3_000_000, 3);
    for piece in content.chunks(600_000) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        assert_eq!(portal.stores().unwrap().sweep(&CancellationToken::new()).await.unwrap().sectors, 0);
    }
    assert!(sectors(&portal) > 0, "some have their names before the end");
    let skylink = writer.finish(br#"{"filename":"a","length":3000000}"#.to_vec()).await.unwrap();
    assert_eq!(portal.stores().unwrap().sweep(&CancellationToken::new()).await.unwrap().sectors, 0);
    let skyfile = portal.stores().unwrap().skyfiles.open(&skylink).await.unwrap().unwrap();
    assert!(skyfile.roots().all(|root| portal.stores().unwrap().skyfiles.sectors().contains(&root).unwrap()));
    let mut abandoned = portal.stores().unwrap().skyfiles.writer().unwrap();
    abandoned.write(Bytes::from(noise(3_000_000, 9))).await.unwrap();
    abandoned.write(Bytes::from(noise(600_000, 8))).await.unwrap();
    drop(abandoned);
    let mut swept = 0;
    while swept == 0 {
        // The abandoned upload finishes its current step before its sectors can be swept.
        swept = portal.stores().unwrap().sweep(&CancellationToken::new()).await.unwrap().sectors;
    }
    assert!(portal.stores().unwrap().skyfiles.open(&skylink).await.unwrap().is_some());
}

#[tokio::test]
async fn a_pin_saves_what_was_unpinned_until_it_is_swept() {
    let (portal, _directory) = portal();
    let skylink = upload(&portal, "a", noise(10_000, 4)).await;
    portal.stores().unwrap().skyfiles.unpin(&skylink).await.unwrap();
    assert!(portal.stores().unwrap().skyfiles.pin(&skylink).await.unwrap());
    assert_eq!(portal.stores().unwrap().sweep(&CancellationToken::new()).await.unwrap().sectors, 0);
    portal.stores().unwrap().skyfiles.unpin(&skylink).await.unwrap();
    assert!(portal.stores().unwrap().sweep(&CancellationToken::new()).await.unwrap().sectors > 0);
    assert!(!portal.stores().unwrap().skyfiles.pin(&skylink).await.unwrap());
    assert!(!portal.stores().unwrap().skyfiles.is_pinned(&skylink).await.unwrap());
}

/// Pins took the last files of the disk, which uploads had left free.
#[test]
fn pins_leave_the_reserve_of_the_disk_free() {
    let directory = tempfile::tempdir().unwrap();
    let skylink: Skylink = "AAD2E1BSqhb-sofNgWEyFoZ8tOZ6S-v2Knd62b5RsqpfOg".parse().unwrap();
    let full = Pins::open(directory.path(), u64::MAX).unwrap();
    assert_eq!(full.add(&skylink).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert!(!full.contains(&skylink).unwrap());
    Pins::open(directory.path(), 0).unwrap().add(&skylink).unwrap();
    full.add(&skylink).expect("what is pinned can be pinned again");
    assert!(full.remove(&skylink).unwrap(), "an unpin frees space");
}

/// Uploads, unpins and sweeps of the same content race; the last client with a skylink finds all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_any_sweep() {
    let (portal, _directory) = portal();
    let portal = std::sync::Arc::new(portal);
    let sweeper = {
        let portal = std::sync::Arc::clone(&portal);
        tokio::spawn(async move {
            loop {
                portal.stores().unwrap().sweep(&CancellationToken::new()).await.unwrap();
            }
        })
    };
    for round in 0..40 {
        let skylink = upload(&portal, "a", noise(20_000, 5)).await;
        let skyfile =
            portal.stores().unwrap().skyfiles.open(&skylink).await.unwrap().expect("what was answered is here");
        for root in skyfile.roots() {
            assert!(portal.stores().unwrap().skyfiles.sectors().contains(&root).unwrap(), "round {round}");
        }
        if round % 3 != 0 {
            portal.stores().unwrap().skyfiles.unpin(&skylink).await.unwrap();
        }
    }
    sweeper.abort();
}
