//! Portals that are configured, then removed from the configuration, then configured again.

use std::sync::Arc;
use std::time::Duration;

use backends::wrap::{Call, Fault, Faults};
use backends::{Backend, MemoryBackend, Replicas};
use tokio_util::sync::CancellationToken;

use super::{GRACE, Node, settings, unavailable};
use crate::catalog::{Backlog, Elsewhere};
use crate::gc;
use crate::oci::Digest;
use crate::placement::eviction::pass;

const BYTES: &[u8] = b"in two places";

/// One portal.
pub(super) struct Portal {
    pub(super) memory: MemoryBackend,
    pub(super) faults: Faults,
}

impl Portal {
    pub(super) fn new(name: &str) -> Self {
        Portal::over(super::memory().named(name))
    }

    fn over(memory: MemoryBackend) -> Self {
        Portal { faults: Faults::new(Arc::new(memory.clone())), memory }
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.memory.digests().contains(digest)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.memory.digests().is_empty()
    }
}

/// A configuration.
pub(super) fn of(portals: &[&Portal], copies: u32) -> Arc<dyn Backend> {
    let members = portals.iter().map(|portal| Arc::new(portal.faults.clone()) as Arc<dyn Backend>);
    Arc::new(Replicas::new(members.collect(), copies, Duration::from_secs(3)).unwrap())
}

async fn evicted(node: &Node) -> u64 {
    pass(node.fixture.registry.content(), node.fixture.registry.remote().unwrap(), 1, &CancellationToken::new())
        .await
        .unwrap()
}

fn elsewhere(node: &Node) -> Elsewhere {
    node.fixture.registry.catalog().elsewhere()
}

impl Node {
    /// Waits until it was read back from a configured portal.
    async fn until_relied_on(&self, digest: &Digest) {
        let is_safe = |node: &Node| node.fixture.registry.catalog().wanted().unwrap().is_safe(&node.places(digest));
        self.until("safe", is_safe).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_at_portals_that_are_not_configured_do_not_count() {
    let [a, b, c] = ["http://a", "http://b", "http://c"].map(Portal::new);
    let mut node = Node::with(GRACE, settings(), of(&[&a, &b], 2));
    node.start();
    let digest = node.fixture.push_blob(BYTES).await;
    node.until_relied_on(&digest).await;
    assert_eq!(elsewhere(&node), Elsewhere::default());

    let mut node = node.restart_with(GRACE, of(&[&a, &c], 2)).await;
    let size = BYTES.len() as u64;
    assert_eq!(node.durability().backlog, Backlog { count: 1, bytes: size }, "one copy of two");
    assert_eq!(elsewhere(&node), Elsewhere { content: 1, unpins: 0 });
    assert_eq!(evicted(&node).await, 0);
    c.faults.always(Call::Put, Fault::Fail(unavailable));
    node.start();
    node.until("tried", |_| c.faults.calls(Call::Put) > 0).await;
    assert_eq!((evicted(&node).await, node.durability().backlog.count), (0, 1));
    c.faults.clear();
    node.until_relied_on(&digest).await;
    assert!(c.has(&digest) && node.places(&digest)[0].locator.endpoints.contains(&"http://b".to_owned()));
    assert_eq!(evicted(&node).await, 1);

    // The first two portals again. Both still have it, but one must return it whole before the file may be evicted.
    let mut node = node.restart_with(GRACE, of(&[&a, &b], 2)).await;
    assert_eq!((node.durability().backlog.count, elsewhere(&node).content), (0, 1));
    node.start();
    node.until_relied_on(&digest).await;
    assert!(node.fixture.has(&digest).await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_here_is_fetched_to_be_placed_again() {
    let [a, b, c] = ["http://a", "http://b", "http://c"].map(Portal::new);
    let mut node = Node::with(GRACE, settings(), of(&[&a, &b], 2));
    node.start();
    let digest = node.fixture.push_blob(BYTES).await;
    node.until_relied_on(&digest).await;
    assert_eq!(evicted(&node).await, 1);
    let mut node = node.restart_with(GRACE, of(&[&a, &c], 2)).await;
    assert_eq!(node.durability().backlog.count, 1);
    node.start();
    node.until_relied_on(&digest).await;
    assert!(c.has(&digest));
    node.stop().await;
}

/// A portal that got another URL has content that this node lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_portal_that_moved_is_asked_for_what_is_not_here() {
    let before = Portal::new("http://before");
    let mut node = Node::with(GRACE, settings(), of(&[&before], 1));
    node.start();
    let digest = node.fixture.push_blob(BYTES).await;
    node.until_relied_on(&digest).await;
    assert_eq!(evicted(&node).await, 1);
    let after = Portal::over(before.memory.clone().named("http://after"));
    let mut node = node.restart_with(GRACE, of(&[&after], 1)).await;
    assert!(!node.fixture.has(&digest).await, "nobody is known to have it");
    node.start();
    node.until_relied_on(&digest).await;
    assert!(node.fixture.has(&digest).await);
    assert_eq!(node.durability().backlog.count, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removals_wait_for_portals_that_are_not_configured() {
    let [a, b] = ["http://a", "http://b"].map(Portal::new);
    let mut node = Node::with(Duration::ZERO, settings(), of(&[&a, &b], 2));
    node.start();
    let digest = node.fixture.push_blob(BYTES).await;
    node.until_relied_on(&digest).await;
    let mut node = node.restart_with(Duration::ZERO, of(&[&a], 1)).await;
    node.start();
    gc::collect(&node.fixture.registry, false).await.unwrap();
    node.until("removed where it can be", |node| elsewhere(node).unpins == 1).await;
    assert!(a.is_empty() && b.has(&digest));
    let mut node = node.restart_with(Duration::ZERO, of(&[&a, &b], 2)).await;
    assert_eq!(elsewhere(&node), Elsewhere::default());
    node.start();
    node.until("removed", |node| node.places(&digest).is_empty()).await;
    assert!(b.is_empty());
    node.stop().await;
}
