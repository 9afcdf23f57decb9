//! Failures below the service, which the service must not make worse.

use std::fs;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use content_store::{StoreError, UploadId, faults};
use serving::{Holder, UsedUp};

use super::sessions::{Needed, Owner, Sessions};
use super::{Caller, Error, MayPull, Start, Started};
use crate::catalog::local::journal::{Disk, SystemDisk};
use crate::oci::{FixedTags, Reference, RepositoryName};
use crate::resources::Resource;
use crate::testing::{Fixture, incoming};

const GRACE: Duration = Duration::from_hours(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_whose_commit_is_in_doubt_keeps_its_bytes() {
    let disk = Arc::new(FailingDisk::default());
    let injected = Arc::<FailingDisk>::clone(&disk);
    let fixture = Fixture::with(GRACE, |options| options.journal.disk = injected);
    let (first, second) = (fixture.push_blob(b"first").await, fixture.push_blob(b"second").await);
    fixture.push_manifest(&first, 5).await;
    let before = files(&fixture);
    disk.fails.store(true, Ordering::Release);
    let error = fixture.try_push_manifest(&second, 6).await.unwrap_err();
    assert!(matches!(error, Error::ReadOnly), "{error}");
    // The next start may find these facts in the journal, so that the tag points to these bytes.
    assert_eq!(files(&fixture), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_with_a_wrong_size_is_taken_where_sizes_are_ignored() {
    let mut fixture = Fixture::new(GRACE);
    let blob = fixture.push_blob(b"five!").await;
    assert!(matches!(fixture.try_push_manifest(&blob, 6).await, Err(Error::DescriptorSize { .. })));
    Arc::get_mut(&mut fixture.registry).unwrap().limits.descriptor_sizes = false;
    let digest = fixture.push_manifest(&blob, 6).await;
    let stored = fixture.registry.stat_manifest(&fixture.repository, &Reference::Digest(digest.clone())).unwrap();
    let size = fixture.registry.image_size(&fixture.repository, &digest).await.unwrap();
    assert_eq!(size, stored.size + 5, "what counts is the size that the blob has");
    let absent = fixture.next_bytes();
    let absent = crate::oci::Digest::of(crate::oci::Algorithm::Sha256, &absent);
    assert!(matches!(fixture.try_push_manifest(&absent, 6).await, Err(Error::ReferencesMissing { .. })));
}

fn client(last: u8) -> Caller {
    Caller { holder: Holder::at([192, 0, 2, last].into()), ..Caller::local() }
}

async fn begin(fixture: &Fixture, last: u8) -> Result<Started, Error> {
    fixture.registry.begin_upload(&client(last), &fixture.repository, Start::Session(None)).await
}

/// A node with room for four sessions.
fn with_few_sessions() -> Fixture {
    let mut fixture = Fixture::new(GRACE);
    let registry = Arc::get_mut(&mut fixture.registry).unwrap();
    registry.limits.max_uploads = 4;
    registry.sessions = Sessions::new(&registry.limits);
    fixture
}

/// One client opened all of them, and nobody could push for a day.
#[tokio::test(flavor = "multi_thread")]
async fn upload_sessions_of_one_client_leave_half_to_others() {
    let fixture = with_few_sessions();
    for _ in 0..2 {
        begin(&fixture, 1).await.unwrap();
    }
    assert!(matches!(begin(&fixture, 1).await, Err(Error::UsedUp(UsedUp::Share(_)))));
    for _ in 0..2 {
        begin(&fixture, 2).await.unwrap();
    }
    assert!(matches!(begin(&fixture, 3).await, Err(Error::UsedUp(UsedUp::Pool(_)))));
    assert_eq!(fixture.registry.open_uploads(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_of_the_client_with_most_yield_unless_one_is_in_use() {
    let fixture = with_few_sessions();
    let sessions = &fixture.registry.sessions;
    for last in [1, 1, 2] {
        begin(&fixture, last).await.unwrap();
        sessions.age(Duration::from_mins(2));
    }
    begin(&fixture, 3).await.unwrap();
    sessions.age(Duration::from_mins(4));
    // The one of client 3 has been idle for four minutes, the others for six and more.
    begin(&fixture, 4).await.unwrap();
    let held = |last: u8| sessions.places.held(client(last).holder);
    assert_eq!([1, 2, 3, 4].map(held), [1, 1, 1, 1], "one of the client with two has ended");
    sessions.age(Duration::from_mins(2));
    let (used, guard) = sessions.first_to_yield(Needed::Place, Some(client(1).holder)).unwrap();
    begin(&fixture, 5).await.unwrap();
    assert_eq!([1, 2, 3, 4, 5].map(held), [1, 0, 1, 1, 1], "a request uses that of client 1");
    drop((used, guard));
    begin(&fixture, 1).await.unwrap();
    assert_eq!([1, 3].map(held), [1, 1], "the longest idle one of all has ended");
}

/// Appends to a new session of a client, and returns its id.
async fn stage(fixture: &Fixture, last: u8, bytes: &'static [u8]) -> Result<UploadId, Error> {
    let Started::Session(begun) = begin(fixture, last).await? else { panic!("no session") };
    let body = futures_util::stream::iter([Ok::<_, Error>(bytes::Bytes::from_static(bytes))]);
    let body = incoming(&fixture.registry, body).await;
    let appended = fixture.registry.append_upload(&client(last), &fixture.repository, &begun.id, body).await;
    appended.map(|_| begun.id)
}

/// Uploads that nobody went on with kept the staging full for a day.
#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_of_the_client_with_most_bytes_yield_when_the_staging_is_full() {
    let fixture = Fixture::new(GRACE);
    let registry = &fixture.registry;
    registry.staging.limit_to(20);
    let most = stage(&fixture, 1, b"eight...").await.unwrap();
    registry.sessions.age(Duration::from_mins(1));
    let second = stage(&fixture, 1, b"four").await.unwrap();
    let other = stage(&fixture, 2, b"seven..").await.unwrap();
    let empty = begin(&fixture, 3).await.unwrap();
    let owner = Owner::new(&Caller::local(), &fixture.repository);
    let open = |id: &UploadId| registry.sessions.find(&owner, id).is_ok();
    assert!(matches!(stage(&fixture, 4, b"two").await, Err(Error::StagingFull)), "none is idle");
    registry.sessions.age(Duration::from_mins(6));
    let (used, guard) = registry.sessions.first_to_yield(Needed::Bytes, None).unwrap();
    assert_eq!(used.id, most, "the longest idle one of the client with most bytes");
    stage(&fixture, 4, b"in the middle").await.unwrap_err();
    assert_eq!([&most, &second, &other].map(open), [true, false, false], "a request uses the first one");
    drop((used, guard));
    stage(&fixture, 4, b"all twenty bytes....").await.unwrap();
    assert!(!open(&most));
    let Started::Session(empty) = empty else { panic!("no session") };
    assert!(open(&empty.id), "a session without bytes makes no room");
}

/// Slow bodies of one client held all permits.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_one_client_leave_half_of_the_permits_to_others() {
    let fixture = Fixture::new(GRACE);
    let most = fixture.registry.limits().max_transfers / 2;
    let mut held = Vec::new();
    for _ in 0..most {
        held.push(fixture.registry.admit(&client(1), &[Resource::Bodies], None).await.unwrap());
    }
    let refused = fixture.registry.admit(&client(1), &[Resource::Bodies], None).await;
    assert!(matches!(refused, Err(Error::UsedUp(UsedUp::Share(_)))), "{refused:?}");
    fixture.registry.admit(&client(2), &[Resource::Bodies], None).await.unwrap().body().unwrap();
}

/// Clients that sent large manifests and left returned their permits at once, and the manifests filled the memory.
#[tokio::test(flavor = "multi_thread")]
async fn the_permit_of_a_manifest_stays_until_its_commit_though_the_client_leaves() {
    let fixture = Fixture::new(GRACE);
    let caller = super::Caller::local();
    let body = bytes::Bytes::from(format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{{"a":"{}"}}}}"#,
        "x".repeat(100_000)
    ));
    let digest = crate::oci::Digest::of(crate::oci::Algorithm::Sha256, &body);
    let memory = Some(fixture.registry.manifest_memory(&caller, body.len() as u64).await.unwrap());
    let push = super::ManifestPush {
        reference: Reference::Digest(digest.clone()),
        digest: None,
        tags: Vec::new(),
        content_type: None,
        precondition: None,
        fixed: FixedTags::none(),
        body,
        memory,
    };
    let collecting = fixture.registry.content.locks.lock(&digest).await;
    let request = tokio::spawn({
        let (registry, repository) = (Arc::clone(&fixture.registry), fixture.repository.clone());
        async move { registry.put_manifest(&caller, &repository, push).await.map(drop) }
    });
    let tasks = &fixture.registry.content.tasks;
    let before = tasks.len();
    while tasks.len() == before {
        tokio::task::yield_now().await;
    }
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    assert!(fixture.registry.manifest_memory_used() > 0, "the manifest is still in memory");
    drop(collecting);
    while fixture.registry.manifest_memory_used() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(fixture.registry.stat_manifest(&fixture.repository, &Reference::Digest(digest)).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_manifest_with_too_many_references_can_be_pulled_and_deleted() {
    let mut fixture = Fixture::new(GRACE);
    let blob = fixture.push_blob(b"five!").await;
    let reference = Reference::Digest(fixture.push_manifest(&blob, 5).await);
    Arc::get_mut(&mut fixture.registry).unwrap().limits.max_references = 0;
    let (registry, repository) = (&fixture.registry, &fixture.repository);
    assert!(matches!(fixture.try_push_manifest(&blob, 5).await, Err(Error::TooManyReferences { limit: 0 })));
    registry.get_manifest(repository, &reference).await.unwrap();
    registry.delete_manifest(&Caller::local(), repository, &reference, None, FixedTags::none()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_manifest_leaves_nothing_behind() {
    let fixture = Fixture::new(GRACE);
    let blob = fixture.push_blob(b"five!").await;
    let before = files(&fixture);
    assert!(matches!(fixture.try_push_manifest(&blob, 6).await, Err(Error::DescriptorSize { .. })));
    assert_eq!(files(&fixture), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_push_has_replaced_is_not_put_aside() {
    let fixture = Fixture::new(GRACE);
    let digest = fixture.push_blob(b"sound again").await;
    let seen = StoreError::Corrupt { path: fixture.file(&digest), computed: digest.clone() };
    fixture.registry.content.damaged(&digest, seen).await;
    assert!(fixture.has(&digest).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shortened_file_is_not_said_to_be_there() {
    let fixture = Fixture::new(GRACE);
    let digest = fixture.push_blob(b"shortened").await;
    let file = fixture.file(&digest);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    File::options().write(true).open(&file).unwrap().set_len(3).unwrap();
    assert!(!fixture.has(&digest).await && !file.exists());
    fixture.push_blob(b"shortened").await;
    assert!(fixture.has(&digest).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_of_lost_content_begins_an_upload() {
    let fixture = Fixture::new(GRACE);
    let digest = fixture.push_blob(b"lost").await;
    let target: RepositoryName = "b".parse().unwrap();
    let mount = || Start::Mount(digest.clone(), Some(fixture.repository.clone()), MayPull::only(|_| true));
    fs::remove_file(fixture.file(&digest)).unwrap();
    let started = fixture.registry.begin_upload(&crate::service::Caller::local(), &target, mount()).await.unwrap();
    assert!(matches!(started, Started::Session(_)), "{started:?}");
    fixture.push_blob(b"lost").await;
    let started = fixture.registry.begin_upload(&crate::service::Caller::local(), &target, mount()).await.unwrap();
    assert!(matches!(started, Started::Mounted(_)), "{started:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_whose_file_is_lost_is_not_said_to_be_there() {
    let fixture = Fixture::new(GRACE);
    let blob = fixture.push_blob(b"config").await;
    let manifest = fixture.push_manifest(&blob, 6).await;
    let head = || async {
        let reference = Reference::Digest(manifest.clone());
        fixture.registry.head_manifest(&fixture.repository, &reference).await
    };
    assert!(head().await.is_ok());
    fs::remove_file(fixture.file(&manifest)).unwrap();
    assert!(matches!(head().await, Err(Error::ManifestUnknown)));
    fixture.push_manifest(&blob, 6).await;
    assert!(head().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closing_put_refused_on_a_full_disk_succeeds_once_there_is_space() {
    let disk = Arc::new(FailingDisk::default());
    let injected = Arc::<FailingDisk>::clone(&disk);
    let fixture = Fixture::with(GRACE, |options| {
        options.journal.disk = injected;
        options.journal.segment_bytes = 8 * 1024;
        options.journal.reserve_bytes = 4 * 1024;
    });
    disk.full.store(true, Ordering::Release);
    // Among the pushes that fill the segment, the first one refused.
    let (id, digest) = loop {
        match fixture.upload(fixture.next_bytes()).await {
            (_, _, Ok(_)) => {}
            (id, digest, Err(Error::DiskFull)) => break (id, digest),
            (_, _, Err(error)) => panic!("{error}"),
        }
    };
    assert!(!fixture.has(&digest).await);
    assert!(matches!(fixture.close(&id, &digest).await, Err(Error::DiskFull)));
    disk.full.store(false, Ordering::Release);
    fixture.close(&id, &digest).await.unwrap();
    assert!(fixture.has(&digest).await);
}

/// Each push was accepted although none could succeed, and `/readyz` did not report it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_disk_fails_takes_no_push_until_it_works_again() {
    let fixture = Fixture::new(GRACE);
    let blob = fixture.push_blob(b"sound").await;
    let open = fixture
        .registry
        .begin_upload(&crate::service::Caller::local(), &fixture.repository, Start::Session(None))
        .await;
    assert!(matches!(open, Ok(Started::Session(_))));
    let store = fixture.registry.store();
    faults::plan(faults::Step::SyncData, 0, libc::EIO);
    store.put_bytes(&crate::oci::Digest::of(crate::oci::Algorithm::Sha256, b"unsure"), b"unsure").unwrap_err();
    let begun = fixture
        .registry
        .begin_upload(&crate::service::Caller::local(), &fixture.repository, Start::Session(None))
        .await;
    assert!(matches!(begun, Err(Error::StoreTroubled)), "{begun:?}");
    let pushed = fixture.try_push_manifest(&blob, 5).await;
    assert!(matches!(pushed, Err(Error::StoreTroubled)), "{pushed:?}");
    assert!(fixture.has(&blob).await, "reads go on");
    // It retries by itself every few seconds.
    let deadline = Instant::now() + Duration::from_mins(1);
    while fixture.registry.store().is_troubled() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    fixture.push_blob(b"after").await;
    fixture.push_manifest(&blob, 5).await;
}

fn files(fixture: &Fixture) -> usize {
    fixture.registry.store().walk().count()
}

/// A disk that writes, but from some moment on fails to sync, or has no space for another file.
#[derive(Debug, Default)]
struct FailingDisk {
    fails: AtomicBool,
    full: AtomicBool,
}

impl Disk for FailingDisk {
    fn allocate(&self, file: &File, length: u64) -> io::Result<()> {
        match self.full.load(Ordering::Acquire) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => SystemDisk.allocate(file, length),
        }
    }

    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        SystemDisk.write(file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        match self.fails.load(Ordering::Acquire) {
            true => Err(io::Error::other("the disk is dying")),
            false => SystemDisk.sync(file),
        }
    }
}
