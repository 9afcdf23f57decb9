//! Placement with a backend that works, fails, or dies half-way.

mod audits;
mod cold;
mod histories;
mod lists;
mod portals;
mod removals;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use backends::skynet::SectorRoots;
use backends::wrap::{Call, Fault, Faults};
use backends::{Backend, BackendError, Content, MemoryBackend, UNIT};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::catalog::{Backlog, Placement};
use crate::gc;
use crate::oci::{Digest, FixedTags};
use crate::placement::{Durability, Settings, run};
use crate::testing::Fixture;

pub(crate) const GRACE: Duration = Duration::from_hours(1);
/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn settings() -> Settings {
    Settings {
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(50),
        settle: Duration::ZERO,
        ..Settings::default()
    }
}

/// Storage whose addresses commit to the roots of units, as skylinks do.
pub(crate) fn memory() -> MemoryBackend {
    MemoryBackend::new().proving(|bytes| Arc::new(SectorRoots::of_bytes(bytes)))
}

/// A node, its backend, and the placement between them.
pub(crate) struct Node {
    pub(crate) fixture: Fixture,
    pub(crate) memory: MemoryBackend,
    pub(crate) faults: Faults,
    pub(crate) settings: Settings,
    backend: Arc<dyn Backend>,
    running: Option<(JoinHandle<()>, CancellationToken)>,
}

impl Node {
    pub(crate) fn new(grace: Duration, settings: Settings) -> Self {
        let memory = memory();
        Node { memory: memory.clone(), ..Node::with(grace, settings, Arc::new(memory)) }
    }

    /// A node with a given backend. `memory` stays empty.
    pub(crate) fn with(grace: Duration, settings: Settings, backend: Arc<dyn Backend>) -> Self {
        let (memory, faults) = (memory(), Faults::new(backend));
        let backend: Arc<dyn Backend> = Arc::new(faults.clone());
        let fixture = Fixture::placing(grace, &backend, &settings);
        Node { fixture, memory, faults, settings, backend, running: None }
    }

    pub(crate) fn start(&mut self) {
        let (registry, stop) = (&self.fixture.registry, CancellationToken::new());
        let running =
            tokio::spawn(run(Arc::clone(registry.content()), Arc::clone(registry.remote().unwrap()), stop.clone()));
        self.running = Some((running, stop));
    }

    pub(crate) async fn stop(&mut self) {
        let (running, stop) = self.running.take().unwrap();
        stop.cancel();
        running.await.unwrap();
    }

    pub(crate) async fn restart(self, grace: Duration) -> Self {
        let backend = Arc::clone(&self.backend);
        self.restart_with(grace, backend).await
    }

    /// Reopens it with another configuration.
    pub(crate) async fn restart_with(mut self, grace: Duration, backend: Arc<dyn Backend>) -> Self {
        if self.running.is_some() {
            self.stop().await;
        }
        let Node { fixture, memory, faults, settings, .. } = self;
        let fixture = fixture.reopen(grace, &backend, &settings);
        Node { fixture, memory, faults, settings, backend, running: None }
    }

    pub(crate) fn places(&self, digest: &Digest) -> Vec<Placement> {
        self.fixture.registry.catalog().placements(digest).unwrap()
    }

    pub(crate) fn durability(&self) -> Durability {
        self.fixture.registry.durability().unwrap()
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, waiting).await;
        came.unwrap_or_else(|_| panic!("never: {what}; {:?}", self.durability()));
    }

    pub(crate) async fn until_read_back(&self, digest: &Digest) {
        self.until("read back", |node| node.places(digest).iter().any(|placement| placement.read_back)).await;
    }

    /// Waits until the storage has the content, whatever was answered about it.
    pub(crate) async fn until_there(&self, digest: &Digest, size: u64) {
        let waiting = async {
            while !self.is_there(digest, size).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the content gets there");
    }

    /// Asks the storage itself, without the injected faults.
    pub(crate) async fn is_there(&self, digest: &Digest, size: u64) -> bool {
        let content = Content::new(digest.clone(), size).unwrap();
        let source = Arc::new(backends::BytesSource::claiming(content.clone(), bytes::Bytes::new()));
        let locator = self.memory.locate(source).await.unwrap().unwrap();
        self.memory.stat(&content, &locator).await.is_ok()
    }
}

pub(crate) fn unavailable() -> BackendError {
    BackendError::Unavailable { retry_after: None, cause: "down".into() }
}

/// Content of which no two units are alike.
pub(crate) fn large(length: u64) -> Vec<u8> {
    (0..length.div_ceil(8))
        .flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .take(length as usize)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_placed_and_read_back() {
    let mut node = Node::new(GRACE, settings());
    let before = node.fixture.push_blob(b"before the start").await;
    assert_eq!(node.durability().to_string(), "safe to close: no, 1 blob, 16 B");
    node.start();
    node.until_read_back(&before).await;
    let blob = node.fixture.push_blob(b"after it").await;
    let manifest = node.fixture.push_manifest(&blob, 8).await;
    for digest in [&blob, &manifest] {
        node.until_read_back(digest).await;
    }
    assert_eq!(node.durability().backlog, Backlog::default());
    assert!(node.is_there(&blob, 8).await);
    assert_eq!(node.durability().to_string(), "nothing lacks a copy, by the records");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_above_a_unit_gets_its_roots_and_the_sweep_leaves_them() {
    let mut node = Node::new(Duration::ZERO, settings());
    let bytes = large(2 * UNIT + 5);
    let digest = node.fixture.push_blob(&bytes).await;
    node.fixture.push_manifest(&digest, bytes.len()).await;
    node.start();
    node.until_read_back(&digest).await;
    let roots = node.fixture.registry.catalog().unit_roots(&digest).unwrap().unwrap();
    assert_eq!(roots.units, 3);
    assert_eq!(
        node.fixture.registry.store().read_verified(&roots.list, 96).unwrap(),
        crate::content::unit_roots::list_of_bytes(&bytes)
    );
    node.until_read_back(&roots.list).await;
    assert_eq!(gc::collect(&node.fixture.registry, false).await.unwrap().files, 0);
    assert!(node.fixture.file(&roots.list).exists());

    // The list is removed with its content, locally and at the backend.
    let manifest = node.fixture.registry.catalog().tag(&node.fixture.repository, &"latest".parse().unwrap());
    let reference = crate::oci::Reference::Digest(manifest.unwrap().unwrap());
    node.fixture
        .registry
        .delete_manifest(
            &crate::service::Caller::local(),
            &node.fixture.repository,
            &reference,
            None,
            FixedTags::none(),
        )
        .await
        .unwrap();
    assert_eq!(gc::collect(&node.fixture.registry, false).await.unwrap().blobs, 1);
    assert!(!node.fixture.file(&roots.list).exists());
    node.until("unpinned", |node| node.places(&digest).is_empty() && node.places(&roots.list).is_empty()).await;
    assert!(!node.is_there(&digest, bytes.len() as u64).await && !node.is_there(&roots.list, 96).await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_down_is_tried_again_until_it_is_up() {
    let mut node = Node::new(GRACE, settings());
    node.faults.always(Call::Put, Fault::Fail(unavailable));
    node.start();
    let digest = node.fixture.push_blob(b"patience").await;
    node.until("some attempts", |node| node.faults.calls(Call::Put) > 3).await;
    assert_eq!(node.durability().backlog.count, 1);
    assert!(node.durability().trouble.unwrap().contains("down"));
    node.faults.clear();
    node.until_read_back(&digest).await;
    node.until("no more trouble", |node| node.durability().trouble.is_none()).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_acknowledged_and_not_recorded_costs_one_attempt() {
    let mut node = Node::new(GRACE, settings());
    node.faults.at(Call::Put, 0, Fault::FailAfterwards(unavailable));
    node.start();
    let digest = node.fixture.push_blob(b"the answer got lost").await;
    node.until_read_back(&digest).await;
    assert_eq!(node.faults.calls(Call::Put), 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_with_what_was_not_read_back() {
    let mut node = Node::new(GRACE, settings());
    node.faults.always(Call::Get, Fault::Stall);
    node.start();
    let digest = node.fixture.push_blob(b"placed only").await;
    node.until("placed", |node| node.places(&digest).len() == 1).await;
    let mut node = node.restart(GRACE).await;
    node.faults.clear();
    assert!(!node.places(&digest)[0].read_back);
    node.start();
    node.until_read_back(&digest).await;
    assert_eq!(node.faults.calls(Call::Put), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_gives_back_other_bytes_is_never_relied_on() {
    for fault in [Fault::WrongByte(3), Fault::EndAfter(4), Fault::Superfluous(b"more")] {
        let mut node = Node::new(GRACE, settings());
        node.faults.always(Call::Get, fault);
        node.start();
        let digest = node.fixture.push_blob(b"twelve bytes").await;
        node.until("read back twice", |node| node.faults.calls(Call::Get) > 1).await;
        assert!(node.places(&digest).iter().all(|placement| !placement.read_back));
        node.faults.clear();
        node.until_read_back(&digest).await;
        assert!(node.fixture.registry.metrics.read_back_failures.get() > 0);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_put_aside_instead_of_placed() {
    let mut node = Node::new(GRACE, settings());
    let digest = node.fixture.push_blob(b"rotten").await;
    let file = node.fixture.file(&digest);
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, b"rotteN").unwrap();
    node.start();
    node.until("put aside", |_| !file.exists()).await;
    assert!(node.places(&digest).is_empty());
    node.fixture.push_blob(b"rotten").await;
    node.until_read_back(&digest).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_removed_there_however_often_it_takes() {
    let mut node = Node::new(Duration::ZERO, settings());
    node.start();
    let digest = node.fixture.push_blob(b"not for long").await;
    node.until_read_back(&digest).await;
    node.faults.always(Call::Delete, Fault::Fail(unavailable));
    gc::collect(&node.fixture.registry, false).await.unwrap();
    node.until("some attempts", |node| node.faults.calls(Call::Delete) > 2).await;
    assert!(node.places(&digest)[0].unpin_pending && node.is_there(&digest, 12).await);
    let mut node = node.restart(Duration::ZERO).await;
    node.faults.clear();
    node.start();
    node.until("unpinned", |node| node.places(&digest).is_empty()).await;
    assert!(!node.is_there(&digest, 12).await);
    node.stop().await;
}

/// The removal request is in flight while the content is pushed again.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_unpin_never_takes_what_was_pushed_again() {
    let settle = Duration::from_millis(400);
    let mut node = Node::new(Duration::ZERO, Settings { settle, ..settings() });
    node.start();
    let digest = node.fixture.push_blob(b"comes and goes").await;
    node.until_read_back(&digest).await;
    node.faults.always(Call::Delete, Fault::Late(Duration::from_millis(100)));
    gc::collect(&node.fixture.registry, false).await.unwrap();
    assert!(node.places(&digest)[0].unpin_pending);
    node.until("asked", |node| node.faults.calls(Call::Delete) == 1).await;
    node.fixture.push_blob(b"comes and goes").await;
    node.until("placed again", |node| !node.places(&digest)[0].unpin_pending).await;
    let again = node.places(&digest).remove(0);
    assert!(!again.read_back && again.after_unpin.is_some());
    // A request from an earlier process arrives late.
    let content = Content::new(digest.clone(), 14).unwrap();
    node.memory.delete(&content, &again.locator).await.unwrap();
    node.until_read_back(&digest).await;
    assert!(node.is_there(&digest, 14).await, "it was found missing and uploaded anew");
    assert_eq!(node.places(&digest)[0].after_unpin, None);
    node.stop().await;
}
