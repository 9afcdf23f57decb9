//! Random histories of pushes, deletes, evictions, restarts and a failing backend. Referenced content is never lost,
//! and in the end the backend has all referenced content and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use backends::wrap::{Call, Fault};
use proptest::prelude::*;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{GRACE, Node, PATIENCE, settings, unavailable};
use crate::oci::{Algorithm, Digest};
use crate::placement::Settings;
use crate::placement::eviction::pass;

const CONTENTS: u8 = 4;

#[derive(Clone, Debug)]
enum Step {
    Push(u8),
    Delete(u8),
    Evict,
    Restart,
    Trouble(Call, Fault),
    NoTrouble,
    Pause(u64),
}

fn a_step() -> impl Strategy<Value = Step> {
    let faults = prop_oneof![
        Just((Call::Put, Fault::Fail(unavailable))),
        Just((Call::Put, Fault::FailAfterwards(unavailable))),
        Just((Call::Put, Fault::Late(Duration::from_millis(15)))),
        Just((Call::Stat, Fault::Fail(unavailable))),
        Just((Call::Get, Fault::WrongByte(2))),
        Just((Call::Get, Fault::BreakAfter(1, unavailable))),
        Just((Call::Delete, Fault::Fail(unavailable))),
        Just((Call::Delete, Fault::FailAfterwards(unavailable))),
        Just((Call::Delete, Fault::Late(Duration::from_millis(15)))),
    ];
    prop_oneof![
        8 => (0..CONTENTS).prop_map(Step::Push),
        6 => (0..CONTENTS).prop_map(Step::Delete),
        4 => Just(Step::Evict),
        2 => Just(Step::Restart),
        4 => faults.prop_map(|(call, fault)| Step::Trouble(call, fault)),
        3 => Just(Step::NoTrouble),
        6 => (1..60_u64).prop_map(Step::Pause),
    ]
}

fn content(number: u8) -> Vec<u8> {
    vec![number; 10 + usize::from(number)]
}

fn name(number: u8) -> Digest {
    Digest::of(Algorithm::Sha256, &content(number))
}

async fn evict(node: &Node) {
    pass(node.fixture.registry.content(), node.fixture.registry.remote().unwrap(), 1, &CancellationToken::new())
        .await
        .unwrap();
}

async fn assert_nothing_is_lost(node: &Node, held: &BTreeSet<u8>) {
    for number in held {
        let here = node.fixture.file(&name(*number)).exists();
        assert!(here || node.is_there(&name(*number), content(*number).len() as u64).await, "{number} is lost");
        assert!(node.fixture.has(&name(*number)).await, "{number} is said to be lost");
    }
}

async fn run(steps: Vec<Step>) {
    let settle = Duration::from_millis(60);
    let mut node = Node::new(GRACE, Settings { settle, ..settings() });
    let mut held = BTreeSet::new();
    node.start();
    for step in steps {
        match step {
            Step::Push(number) => {
                node.fixture.push_blob(content(number)).await;
                held.insert(number);
            }
            Step::Delete(number) => {
                let deleted = node
                    .fixture
                    .registry
                    .delete_blob(&crate::service::Caller::local(), &node.fixture.repository, &name(number), None)
                    .await;
                assert_eq!(deleted.is_ok(), held.remove(&number), "{deleted:?}");
            }
            Step::Evict => evict(&node).await,
            Step::Restart => {
                node = node.restart(GRACE).await;
                node.start();
            }
            Step::Trouble(call, fault) => node.faults.always(call, fault),
            Step::NoTrouble => node.faults.clear(),
            Step::Pause(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
        assert_nothing_is_lost(&node, &held).await;
    }
    node.faults.clear();
    for number in &held {
        node.until_read_back(&name(*number)).await;
    }
    let no_unpins = |node: &Node| node.fixture.registry.catalog().pending_unpins(None, 1).unwrap().items.is_empty();
    node.until("no pending unpin", no_unpins).await;
    evict(&node).await;
    for number in 0..CONTENTS {
        let size = content(number).len() as u64;
        let began = Instant::now();
        // The next look finds what the last uploads may have left.
        while node.is_there(&name(number), size).await != held.contains(&number) {
            assert!(began.elapsed() < PATIENCE, "{number} is left over, or lost");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!node.fixture.file(&name(number)).exists(), "{number} did not go");
    }
    assert_nothing_is_lost(&node, &held).await;
    assert_eq!(node.fixture.registry.catalog().recount_backlog().unwrap().count, 0);
    node.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_whatever_happens(steps in proptest::collection::vec(a_step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
