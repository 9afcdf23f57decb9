//! Collection and scrub against a registry in a temporary directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Collected, collect, scrub};
use crate::oci::{Algorithm, Digest, FixedTags, Reference};
use crate::service::{Caller, GraceTable, MayPull, Start, Started};
use crate::testing::Fixture;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

impl Fixture {
    /// A fixture whose blobs are overdue after this time.
    fn with_overdue(grace: Duration, overdue: Duration) -> Self {
        let mut fixture = Fixture::new(grace);
        let registry = Arc::get_mut(&mut fixture.registry).unwrap();
        registry.grace = GraceTable::with_overdue(grace, overdue);
        fixture
    }

    /// Collects until the blob is gone.
    async fn collect_until_gone(&self, digest: &Digest) {
        let until = Instant::now() + PATIENCE;
        while self.registry.catalog().blob(&self.repository, digest).unwrap().is_some() {
            assert!(Instant::now() < until, "the blob is never collected");
            self.collect().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

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
        .delete_manifest(
            &crate::service::Caller::local(),
            &fixture.repository,
            &Reference::Digest(manifest.clone()),
            None,
            FixedTags::none(),
        )
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

/// Each check postponed the collection, so a client that repeated it kept what nobody needed for ever.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_checks_keep_a_blob_only_for_a_limited_time() {
    let fixture = Fixture::with_overdue(Duration::from_secs(3), Duration::from_millis(300));
    let digest = fixture.push_blob(b"asked for again and again").await;
    let until = Instant::now() + PATIENCE;
    while fixture.has(&digest).await {
        assert!(Instant::now() < until, "checks keep it");
        fixture.collect().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(fixture.file(&digest).exists(), "the last answer's grace period goes on");
    fixture.collect_until_gone(&digest).await;
    assert!(!fixture.file(&digest).exists());
    fixture.push_blob(b"asked for again and again").await;
    assert!(fixture.has(&digest).await, "a push makes it new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_brings_an_overdue_blob_back() {
    let fixture = Fixture::with_overdue(Duration::from_hours(1), Duration::ZERO);
    let digest = fixture.push_blob(b"needed at last").await;
    fixture.collect().await;
    assert!(!fixture.has(&digest).await, "it is overdue at once");
    let manifest = fixture.push_manifest(&digest, 14).await;
    assert!(fixture.has(&digest).await);
    fixture.collect().await;
    let reference = Reference::Digest(manifest);
    fixture
        .registry
        .delete_manifest(&Caller::local(), &fixture.repository, &reference, None, FixedTags::none())
        .await
        .unwrap();
    assert!(fixture.has(&digest).await, "its grace period starts with the delete");
}

/// A session that never ended kept all blobs of its repository.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_blobs_only_for_a_limited_time() {
    let fixture = Fixture::with_overdue(Duration::ZERO, Duration::from_secs(2));
    let digest = fixture.push_blob(b"kept by a session").await;
    let repository = &fixture.repository;
    let started = fixture.registry.begin_upload(&Caller::local(), repository, Start::Session(None)).await.unwrap();
    assert_eq!(fixture.collect().await.kept, 1);
    fixture.collect_until_gone(&digest).await;
    let Started::Session(progress) = started else { panic!("{started:?}") };
    assert!(
        fixture.registry.upload_progress(&Caller::local(), repository, &progress.id).is_ok(),
        "the session goes on"
    );
}

/// Deletes of manifests with thousands of absent references, and mounts of absent blobs, filled the table. Then every
/// blob of the registry counted as young.
#[tokio::test(flavor = "multi_thread")]
async fn absent_blobs_have_no_grace_period() {
    let fixture = Fixture::new(Duration::from_hours(1));
    let config = fixture.push_blob(b"config").await;
    let absent = |number: u8| Digest::of(Algorithm::Sha256, &[number]);
    let layer = |number| {
        let kind = "application/vnd.oci.image.layer.nondistributable.v1.tar";
        format!(r#"{{"mediaType":"{kind}","digest":"{}","size":1,"urls":["https://example.com"]}}"#, absent(number))
    };
    let layers = (0..9).map(layer).collect::<Vec<_>>().join(",");
    let config = format!(r#"{{"mediaType":"a/b","digest":"{config}","size":6}}"#);
    let body = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#);
    let pushed = fixture.push_manifest_text(body).await.unwrap();
    let (registry, repository, caller) = (&fixture.registry, &fixture.repository, Caller::local());
    registry
        .delete_manifest(&caller, repository, &Reference::Digest(pushed.digest), None, FixedTags::none())
        .await
        .unwrap();
    for from in [None, Some("other".parse().unwrap())] {
        let mount = Start::Mount(absent(100), from, MayPull::only(|_| true));
        let started = registry.begin_upload(&caller, repository, mount).await.unwrap();
        assert!(matches!(started, Started::Session(_)), "{started:?}");
    }
    assert_eq!(registry.grace.touched(), 1, "only the config is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nobody_holds_is_swept() {
    let fixture = Fixture::new(Duration::from_hours(1));
    let bytes = b"renamed, and then the power went";
    let digest = Digest::of(Algorithm::Sha256, bytes);
    fixture.registry.store().put_bytes(&digest, bytes).unwrap();
    assert_eq!(collect(&fixture.registry, true).await.unwrap().files, 1);
    assert!(fixture.file(&digest).exists(), "a dry run changes nothing");
    assert_eq!(fixture.registry.metrics.gc_runs.get(), 0, "and is no collection");
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
                    .delete_manifest(
                        &crate::service::Caller::local(),
                        &fixture.repository,
                        &reference,
                        None,
                        FixedTags::none(),
                    )
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
