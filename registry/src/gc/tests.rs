//! Collection and scrub against a registry in a temporary directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Collected, collect, scrub};
use crate::oci::{Algorithm, Digest, Reference};
use crate::service::{Start, Started};
use crate::testing::Fixture;

impl Fixture {
    async fn collect(&self) -> Collected {
        collect(&self.registry, false).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_manifest_needs_stays_and_the_rest_goes() {
    let fixture = Fixture::new(Duration::ZERO);
    let (needed, not) = (fixture.push_blob(b"needed").await, fixture.push_blob(b"not needed").await);
    let manifest = fixture.push_manifest(&needed, 6).await;
    let done = fixture.collect().await;
    assert_eq!((done.blobs, done.bytes), (1, 10));
    assert!(fixture.has(&needed).await && !fixture.has(&not).await && !fixture.file(&not).exists());

    fixture
        .registry
        .delete_manifest(&crate::service::Caller::local(), &fixture.repository, &Reference::Digest(manifest.clone()))
        .await
        .unwrap();
    assert!(!fixture.file(&manifest).exists(), "a manifest's file goes with its last holder");
    assert_eq!(fixture.collect().await.blobs, 1);
    assert!(!fixture.has(&needed).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_starts_the_grace_period_anew() {
    let grace = Duration::from_millis(400);
    let fixture = Fixture::new(grace);
    let digest = fixture.push_blob(b"young").await;
    assert_eq!(fixture.collect().await.kept, 1);
    tokio::time::sleep(grace).await;
    assert!(fixture.has(&digest).await);
    assert_eq!(fixture.collect().await.blobs, 0, "a client was told that it is there");
    tokio::time::sleep(grace).await;
    assert_eq!(fixture.collect().await.blobs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_pushed_to_is_left_alone() {
    let fixture = Fixture::new(Duration::ZERO);
    let digest = fixture.push_blob(b"waits for its manifest").await;
    let started = fixture
        .registry
        .begin_upload(&crate::service::Caller::local(), &fixture.repository, Start::Session(None))
        .await
        .unwrap();
    let Started::Session(progress) = started else { panic!("{started:?}") };
    assert_eq!(fixture.collect().await.kept, 1);
    fixture.registry.cancel_upload(&crate::service::Caller::local(), &fixture.repository, &progress.id).await.unwrap();
    assert_eq!(fixture.collect().await.blobs, 1);
    assert!(!fixture.has(&digest).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nobody_holds_is_swept() {
    let fixture = Fixture::new(Duration::from_hours(1));
    let bytes = b"renamed, and then the power went";
    let digest = Digest::of(Algorithm::Sha256, bytes);
    fixture.registry.store().put_bytes(&digest, bytes).unwrap();
    assert_eq!(collect(&fixture.registry, true).await.unwrap().files, 1);
    assert!(fixture.file(&digest).exists(), "a dry run changes nothing");
    assert_eq!(fixture.collect().await.files, 1);
    assert!(!fixture.file(&digest).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_and_collections_at_once_lose_nothing() {
    let fixture = Arc::new(Fixture::new(Duration::ZERO));
    let pushing = {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move {
            let mut pushed = 0;
            for _ in 0..100 {
                let digest = fixture.push_blob(b"shared").await;
                // With no grace the blob may be collected before the manifest comes. The push must then be refused, and
                // lose nothing.
                let Ok(stored) = fixture.try_push_manifest(&digest, 6).await else { continue };
                assert!(fixture.file(&digest).exists(), "a manifest stands without its blob");
                pushed += 1;
                let reference = Reference::Digest(stored.digest);
                fixture
                    .registry
                    .delete_manifest(&crate::service::Caller::local(), &fixture.repository, &reference)
                    .await
                    .unwrap();
            }
            pushed
        })
    };
    while !pushing.is_finished() {
        fixture.collect().await;
        // Lets some pushes through between two collections.
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    assert!(pushing.await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scrub_puts_rot_aside_and_a_push_brings_it_back() {
    let fixture = Fixture::new(Duration::from_hours(1));
    let (sound, rotten) = (fixture.push_blob(b"sound").await, fixture.push_blob(b"rotten").await);
    let file = fixture.file(&rotten);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&file, b"rotteN").unwrap();

    let registry = Arc::clone(&fixture.registry);
    let stop = CancellationToken::new();
    tokio::task::spawn_blocking(move || scrub::pass(&registry, 1 << 30, &stop, &tokio::runtime::Handle::current()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(fixture.registry.metrics.scrub_errors.get(), 1);
    assert!(fixture.has(&sound).await && !fixture.has(&rotten).await && !file.exists());
    assert_eq!(fs::read_dir(fixture.folder.path().join("quarantine")).unwrap().count(), 1);

    fixture.push_blob(b"rotten").await;
    assert!(fixture.has(&rotten).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_stay_while_a_backup_copies_them() {
    let fixture = Fixture::new(Duration::ZERO);
    let digest = fixture.push_blob(b"needed by a backup").await;
    let kept = fixture.registry.content.keep_files();
    let another = fixture.registry.content.keep_files();
    assert_eq!(fixture.collect().await.blobs, 1);
    assert!(!fixture.registry.catalog().is_referenced(&digest).unwrap());
    assert!(fixture.file(&digest).exists());
    drop(kept);
    assert_eq!(fixture.collect().await.files, 0);
    assert!(fixture.file(&digest).exists(), "two backups run");
    drop(another);
    assert_eq!(fixture.collect().await.files, 1);
    assert!(!fixture.file(&digest).exists());
}
