//! Answers and stops that wait for the backend.

use std::time::Duration;

use backends::UNIT;
use backends::wrap::{Call, Fault};
use tokio::time::Instant;

use super::{GRACE, Node, large, settings, unavailable};
use crate::placement::{Acknowledgement, Durability, Settings, flush};
use crate::service::Error;

impl Node {
    async fn flush(&self) -> Durability {
        let registry = &self.fixture.registry;
        flush(registry.content(), registry.remote().unwrap()).await
    }
}

fn network(patience_ms: u64) -> Settings {
    Settings {
        acknowledge: Acknowledgement::Network,
        acknowledge_patience: Duration::from_millis(patience_ms),
        ..settings()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_acknowledged_when_all_of_it_is_at_the_backend() {
    let mut node = Node::new(GRACE, network(30_000));
    node.faults.always(Call::Put, Fault::Late(Duration::from_millis(100)));
    node.start();
    let blob = node.fixture.push_blob(b"waits").await;
    assert_eq!(node.places(&blob).len(), 1);
    let manifest = node.fixture.push_manifest(&blob, 5).await;
    assert_eq!(node.places(&manifest).len(), 1);
    node.stop().await;
}

/// The answer did not wait for the list, without which the copy can only be read whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_acknowledged_when_its_list_of_unit_roots_is_at_the_backend_too() {
    let mut node = Node::new(GRACE, network(30_000));
    // The list comes first.
    node.faults.at(Call::Put, 0, Fault::Late(Duration::from_millis(500)));
    node.start();
    let blob = node.fixture.push_blob(large(UNIT + 1)).await;
    let list = node.fixture.registry.catalog().unit_roots(&blob).unwrap().unwrap().list;
    assert_eq!((node.places(&blob).len(), node.places(&list).len()), (1, 1));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_does_not_get_there_in_time_is_in_doubt_and_may_be_repeated() {
    let mut node = Node::new(GRACE, network(200));
    node.faults.always(Call::Put, Fault::Fail(unavailable));
    node.start();
    let began = Instant::now();
    let blob = node.fixture.push_blob(b"waits in vain").await;
    assert!(began.elapsed() >= Duration::from_millis(200), "and is taken all the same");
    let doubtful = node.fixture.try_push_manifest(&blob, 13).await;
    assert!(matches!(doubtful, Err(Error::InDoubt)), "{doubtful:?}");
    let tag = "latest".parse().unwrap();
    assert!(node.fixture.registry.catalog().tag(&node.fixture.repository, &tag).unwrap().is_some(), "it is visible");
    node.faults.clear();
    node.until("placed", |node| node.durability().backlog.count == 0).await;
    node.fixture.push_manifest(&blob, 13).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_answer_waits_for_nobody() {
    let node = Node::new(GRACE, settings());
    let blob = node.fixture.push_blob(b"nothing runs").await;
    node.fixture.push_manifest(&blob, 12).await;
    assert_eq!(node.durability().backlog.count, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_brings_away_what_it_can_and_says_what_is_left() {
    let mut node = Node::new(GRACE, Settings { flush_timeout: Duration::from_secs(3), ..settings() });
    node.faults.always(Call::Put, Fault::Late(Duration::from_millis(50)));
    node.start();
    for number in 0..8_u8 {
        node.fixture.push_blob([number]).await;
    }
    let left = node.flush().await;
    assert_eq!(left.backlog.count, 0);
    node.faults.always(Call::Put, Fault::Stall);
    node.fixture.push_blob(b"stuck").await;
    let left = node.flush().await;
    assert_eq!(left.to_string(), "safe to close: no, 1 blob, 5 B");
    node.stop().await;
}

/// It waited for the longest pause, which is five minutes.
#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_pushed_again_is_placed_at_once() {
    let mut node = Node::new(GRACE, Settings { longest_pause: Duration::from_hours(1), ..settings() });
    let digest = node.fixture.push_blob(b"lost and found").await;
    node.fixture.registry.store().remove(&digest).unwrap();
    node.start();
    node.until("tried", |node| node.durability().trouble.is_some()).await;
    node.fixture.push_blob(b"lost and found").await;
    node.until_read_back(&digest).await;
    node.stop().await;
}
