//! Removals that hang, arrive late, or die with the process, while the same content is pushed again.

use std::sync::Arc;
use std::time::Duration;

use backends::wrap::{Call, Fault};
use backends::{Backend as _, Content};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::portals::{Portal, of};
use super::{GRACE, Node, settings, unavailable};
use crate::gc;
use crate::oci::{Algorithm, Digest};
use crate::placement::Settings;
use crate::placement::attempts::settle_old;
use crate::placement::eviction::pass;
use crate::placement::worker::look_at;

const BYTES: &[u8] = b"comes and goes";
const SETTLE: Duration = Duration::from_millis(500);
/// Shorter than the wait for any removal, and longer than a busy machine needs.
const AT_ONCE: Duration = Duration::from_secs(15);

fn settling() -> Settings {
    Settings { settle: SETTLE, ..settings() }
}

/// Pushed, read back and deleted. The request for its removal hangs.
async fn with_a_hanging_removal() -> (Node, Digest) {
    let mut node = Node::new(Duration::ZERO, settling());
    node.start();
    let digest = node.fixture.push_blob(BYTES).await;
    node.until_read_back(&digest).await;
    node.faults.always(Call::Delete, Fault::Stall);
    gc::collect(&node.fixture.registry, false).await.unwrap();
    node.until("asked", |node| node.faults.calls(Call::Delete) == 1).await;
    (node, digest)
}

/// The hanging request takes effect at the backend.
async fn take_effect(node: &Node, digest: &Digest) {
    let content = Content::new(digest.clone(), BYTES.len() as u64).unwrap();
    node.memory.delete(&content, &node.places(digest)[0].locator).await.unwrap();
    assert!(!node.is_there(digest, BYTES.len() as u64).await);
}

async fn evicted(node: &Node) -> u64 {
    pass(node.fixture.registry.content(), node.fixture.registry.remote().unwrap(), 1, &CancellationToken::new())
        .await
        .unwrap()
}

/// After a restart it was in no queue, and no scan found it.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_upload_left_goes_though_its_content_was_deleted_before_the_first_scan() {
    let mut node = Node::new(Duration::ZERO, settling());
    node.faults.always(Call::Put, Fault::FailAfterwards(unavailable));
    node.start();
    let digest = node.fixture.push_blob(BYTES).await;
    // The call is counted at its start. Stopping before its end would leave nothing behind.
    node.until_there(&digest, BYTES.len() as u64).await;
    node.stop().await;
    let mut node = node.restart(Duration::ZERO).await;
    let (registry, remote) = (&node.fixture.registry, node.fixture.registry.remote.as_ref().unwrap());
    assert_eq!(settle_old(registry.content(), remote, |_| true).await, [], "who looks at it anyway settles it");
    assert_eq!(settle_old(registry.content(), remote, |_| false).await, std::slice::from_ref(&digest));
    gc::collect(registry, false).await.unwrap();
    assert!(!registry.catalog().is_referenced(&digest).unwrap() && node.is_there(&digest, BYTES.len() as u64).await);
    look_at(registry.content(), remote, &digest, &CancellationToken::new()).await.unwrap();
    assert!(node.places(&digest)[0].unpin_pending);
    node.start();
    node.until("removed", |node| node.places(&digest).is_empty()).await;
    assert!(!node.is_there(&digest, BYTES.len() as u64).await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_does_not_wait_for_a_removal_that_hangs() {
    let (mut node, digest) = with_a_hanging_removal().await;
    let began = Instant::now();
    node.fixture.push_blob(BYTES).await;
    node.until("placed again", |node| !node.places(&digest)[0].unpin_pending).await;
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(node.durability().to_string(), "safe to close: no, 1 blob placed and not read back yet");
    assert!(node.places(&digest)[0].after_unpin.is_some() && !node.places(&digest)[0].read_back);
    // It was stopped, but had reached the backend.
    take_effect(&node, &digest).await;
    assert_eq!(evicted(&node).await, 0, "nobody knows yet whether it is still there");
    node.until_read_back(&digest).await;
    assert!(began.elapsed() >= SETTLE);
    assert!(node.is_there(&digest, BYTES.len() as u64).await, "it was found missing and stored again");
    assert_eq!(evicted(&node).await, 1);

    // None of that keeps a copy there.
    node.faults.clear();
    gc::collect(&node.fixture.registry, false).await.unwrap();
    node.until("unpinned", |node| node.places(&digest).is_empty()).await;
    assert!(!node.is_there(&digest, BYTES.len() as u64).await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_of_before_a_crash_takes_nothing_that_was_stored_after_it() {
    let (mut node, digest) = with_a_hanging_removal().await;
    node.stop().await;
    node.fixture.push_blob(BYTES).await;
    let mut node = node.restart(GRACE).await;
    node.start();
    node.until("placed again", |node| !node.places(&digest)[0].unpin_pending).await;
    // Once more, before it was requested again.
    let mut node = node.restart(GRACE).await;
    take_effect(&node, &digest).await;
    assert_eq!(evicted(&node).await, 0);
    node.start();
    node.until_read_back(&digest).await;
    assert!(node.is_there(&digest, BYTES.len() as u64).await);
    assert_eq!((evicted(&node).await, node.fixture.has(&digest).await), (1, true));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushed_and_deleted_again_during_a_removal_that_hangs_it_is_removed() {
    let (node, digest) = with_a_hanging_removal().await;
    node.fixture.push_blob(BYTES).await;
    node.until("placed again", |node| !node.places(&digest)[0].unpin_pending).await;
    gc::collect(&node.fixture.registry, false).await.unwrap();
    node.until("asked again", |node| node.faults.calls(Call::Delete) == 2).await;
    node.faults.clear();
    let mut node = node.restart(Duration::ZERO).await;
    node.start();
    node.until("unpinned", |node| node.places(&digest).is_empty()).await;
    assert!(!node.is_there(&digest, BYTES.len() as u64).await);
    node.stop().await;
}

/// The other portal still has it. That says nothing about the portal where the removal hung.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_late_removal_took_at_one_of_two_portals_is_stored_there_again() {
    let [a, b] = ["http://a", "http://b"].map(Portal::new);
    let mut node = Node::with(Duration::ZERO, settling(), of(&[&a, &b], 2));
    node.start();
    let digest = node.fixture.push_blob(BYTES).await;
    node.until_read_back(&digest).await;
    b.faults.always(Call::Delete, Fault::Stall);
    gc::collect(&node.fixture.registry, false).await.unwrap();
    node.until("asked", |_| b.faults.calls(Call::Delete) == 1).await;
    node.until("removed elsewhere", |_| a.is_empty()).await;
    node.fixture.push_blob(BYTES).await;
    node.until("placed again", |node| !node.places(&digest)[0].unpin_pending).await;
    let content = Content::new(digest.clone(), BYTES.len() as u64).unwrap();
    b.memory.delete(&content, &node.places(&digest)[0].locator).await.unwrap();
    assert!(b.is_empty());
    node.until_read_back(&digest).await;
    assert!(a.has(&digest) && b.has(&digest));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_that_hangs_keeps_no_other_removal_waiting() {
    const CONTENTS: u8 = 24;
    let [a, b] = ["http://a", "http://b"].map(Portal::new);
    let mut node = Node::with(Duration::ZERO, settings(), of(&[&a, &b], 2));
    node.start();
    let mut digests = Vec::new();
    for number in 0..CONTENTS {
        digests.push(node.fixture.push_blob([number]).await);
    }
    node.until("placed", |node| node.durability().backlog.count == 0).await;
    a.faults.always(Call::Delete, Fault::Stall);
    let began = Instant::now();
    gc::collect(&node.fixture.registry, false).await.unwrap();
    node.until("removed at the other one", |_| b.is_empty()).await;
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(a.faults.calls(Call::Delete), node.settings.transfers as u64, "no more at once");
    assert!(digests.iter().all(|digest| a.has(digest)));
    let pending = |node: &Node| node.fixture.registry.catalog().pending_unpins(None, 99).unwrap().items.len();
    assert_eq!(pending(&node), usize::from(CONTENTS), "not closed before the last one answers");
    a.faults.clear();
    let mut node = node.restart(Duration::ZERO).await;
    node.start();
    node.until("removed everywhere", |node| a.is_empty() && pending(node) == 0).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_is_not_answered_is_asked_for_again() {
    let mut node = Node::new(Duration::ZERO, Settings { removal_patience: Duration::from_millis(50), ..settings() });
    node.start();
    let digest = node.fixture.push_blob(BYTES).await;
    node.until_read_back(&digest).await;
    node.faults.at(Call::Delete, 0, Fault::Stall);
    node.faults.at(Call::Delete, 1, Fault::Stall);
    gc::collect(&node.fixture.registry, false).await.unwrap();
    node.until("unpinned", |node| node.places(&digest).is_empty()).await;
    assert!(node.faults.calls(Call::Delete) >= 3);
    assert_eq!(node.fixture.registry.metrics.unpin_failures.get(), 2);
    node.stop().await;
}

/// Two digests may share a lock. Neither waits for the other's removal.
#[tokio::test(flavor = "multi_thread")]
async fn no_lock_is_held_while_a_removal_is_under_way() {
    let (mut node, digest) = with_a_hanging_removal().await;
    let remote = Arc::clone(node.fixture.registry.remote.as_ref().unwrap());
    assert!(remote.moves.try_lock(&digest).is_some());
    assert!(remote.moves.try_lock(&Digest::of(Algorithm::Sha256, b"another")).is_some());
    node.stop().await;
}
