//! Copies that endpoints lose or damage while they stay who they are.

use std::sync::Arc;
use std::time::Duration;

use backends::wrap::{Breaker, BreakerConfig, Call, Fault};
use backends::{Backend, Content, Replicas};

use super::portals::{Portal, of};
use super::{GRACE, Node, settings, unavailable};
use crate::oci::Digest;
use crate::placement::Settings;
use crate::service::Error;

const BYTES: &[u8] = b"acknowledged and lost";
/// Longer than a test.
const NEVER: Duration = Duration::from_hours(1);

/// Asks for copies all the time.
fn asking() -> Settings {
    Settings { audit_interval: Duration::from_millis(20), ..settings() }
}

/// Reads copies all the time.
fn reading() -> Settings {
    let full_read_interval = Duration::from_millis(20);
    Settings { audit_interval: NEVER, full_read_interval, audit_rate: 1 << 40, ..settings() }
}

impl Portal {
    async fn lose(&self, digest: &Digest, node: &Node) {
        let content = Content::new(digest.clone(), BYTES.len() as u64).unwrap();
        self.memory.delete(&content, &node.places(digest)[0].locator).await.unwrap();
        assert!(!self.has(digest));
    }

    fn put_back(&self, digest: &Digest, bytes: &'static [u8]) {
        drop(self.memory.clone().holding(digest.clone(), bytes.into()));
    }
}

impl Node {
    async fn pushed(portals: &[&Portal], copies: u32, settings: Settings) -> (Self, Digest) {
        let mut node = Node::with(GRACE, settings, of(portals, copies));
        node.start();
        let digest = node.fixture.push_blob(BYTES).await;
        node.until_safe().await;
        (node, digest)
    }

    async fn until_safe(&self) {
        self.until("safe", |node| node.durability().is_safe()).await;
    }
}

/// Nothing noticed it, and the word stayed "yes".
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_vanished_is_noticed_and_made_again() {
    let [a, b] = ["http://a", "http://b"].map(Portal::new);
    let (mut node, digest) = Node::pushed(&[&a, &b], 2, asking()).await;
    a.lose(&digest, &node).await;
    node.until("made again", |_| a.has(&digest)).await;
    node.until_safe().await;
    assert_eq!((node.durability().missing, node.fixture.registry.content().metrics.copies_lost.get()), (0, 1));
    node.stop().await;
}

/// The file went, with one of two copies left.
#[tokio::test(flavor = "multi_thread")]
async fn eviction_asks_for_the_copies_that_it_relies_on() {
    let [a, b] = ["http://a", "http://b"].map(Portal::new);
    let (mut node, digest) = Node::pushed(&[&a, &b], 2, Settings { audit_interval: NEVER, ..settings() }).await;
    a.lose(&digest, &node).await;
    assert_eq!(node.evict().await, 0);
    node.until("made again", |_| a.has(&digest)).await;
    node.until_safe().await;
    assert_eq!(node.evict().await, 1);
    node.stop().await;
}

/// Pulls failed for ever, and a HEAD said that it was there, so that no push brought it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_found_by_reading_and_a_push_heals_it() {
    let a = Portal::new("http://a");
    let (mut node, digest) = Node::pushed(&[&a], 1, reading()).await;
    assert_eq!(node.evict().await, 1);
    a.put_back(&digest, b"acknowledged and lOst");
    node.until("lost", |node| node.durability().missing == 1).await;
    assert!(!node.durability().is_safe());
    let (registry, name) = (&node.fixture.registry, &node.fixture.repository);
    let found = registry.stat_blob(name, &digest).await;
    assert!(matches!(found, Err(Error::BlobUnknown)), "{found:?}");
    node.fixture.push_blob(BYTES).await;
    node.until_safe().await;
    assert_eq!((node.durability().missing, node.evict().await), (0, 1));
    assert!(node.fixture.has(&digest).await);
    node.stop().await;
}

/// Each failed read made the breaker refuse the question whether the portal answers at all, so it counted as silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_portal_that_only_fails_reads_is_not_called_silent() {
    let a = Portal::new("http://a");
    let rest = Duration::from_millis(50);
    let config = BreakerConfig { failures: 1, first_rest: rest, longest_rest: rest };
    let breaker: Arc<dyn Backend> = Arc::new(Breaker::new(Arc::new(a.faults.clone()), config));
    let backend = Replicas::new(vec![breaker], 1, Duration::from_secs(3)).unwrap();
    let mut node = Node::with(GRACE, Settings { doubts_apart: rest, ..reading() }, Arc::new(backend));
    node.start();
    node.fixture.push_blob(BYTES).await;
    node.until_safe().await;
    assert_eq!(node.evict().await, 1);
    a.faults.always(Call::Get, Fault::Fail(unavailable));
    node.until("lost", |node| node.durability().missing == 1).await;
    a.faults.clear();
    node.until_safe().await;
    node.stop().await;
}

/// The address of the only copy was forgotten together with the copy.
#[tokio::test(flavor = "multi_thread")]
async fn lost_content_that_is_found_again_counts_again() {
    let a = Portal::new("http://a");
    let (mut node, digest) = Node::pushed(&[&a], 1, asking()).await;
    assert_eq!(node.evict().await, 1);
    a.lose(&digest, &node).await;
    node.until("lost", |node| node.durability().missing == 1).await;
    a.put_back(&digest, BYTES);
    node.until_safe().await;
    assert!(node.fixture.has(&digest).await);
    node.stop().await;
}
