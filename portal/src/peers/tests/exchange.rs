//! A portal gets the entries that it missed while it was unreachable.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use skynet_formats::entry::SignedEntry;
use tower::ServiceExt;

use super::*;
use crate::entries::tests::entry;
use crate::registry::{put_entries, read_entry};

/// Short pauses. The exchange still does not start by itself.
fn quick() -> Timing {
    let step = Duration::from_millis(1);
    Timing { away: Duration::from_millis(20), exchange_step: step, ..patient() }
}

/// A portal that can be unreachable. Then it answers 503, like a proxy in front of it.
struct Shaky {
    node: Node,
    server: Server,
    away: Arc<AtomicBool>,
}

impl Shaky {
    async fn new() -> Self {
        let (node, away) = (Node::new(&[]), Arc::new(AtomicBool::new(false)));
        let (router, is_away) = (node.router(), Arc::clone(&away));
        let server = Server::fake(move |request| {
            let (router, is_away) = (router.clone(), is_away.load(Ordering::SeqCst));
            async move { if is_away { status(503) } else { router.oneshot(request).await.unwrap() } }
        });
        Shaky { node, server: server.await, away }
    }

    fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// A portal that has this one as its peer.
    fn peer(&self, timing: Timing) -> Node {
        Node::open(vec![self.server.url.clone()], |_| (), timing)
    }
}

fn stands(node: &Node, entry: &SignedEntry) -> bool {
    node.portal.stores().unwrap().entries.get(&entry.id()).unwrap().as_ref() == Some(entry)
}

async fn put(node: &Node, entry: &SignedEntry, only_here: bool) {
    put_entries(&node.portal, vec![entry.clone()], None, only_here).await.unwrap();
}

#[tokio::test]
async fn a_portal_that_was_away_gets_what_was_written_meanwhile_and_serves_it() {
    let there = Shaky::new().await;
    let here = there.peer(quick());
    let revisions = [1, 2, 3].map(|revision| entry(1, "a", revision, b"a"));
    // More entries than are sent at once.
    let others: Vec<_> = (0..10).map(|n| entry(2, &n.to_string(), 1, b"b")).collect();
    put(&here, &revisions[0], false).await;
    eventually(async || stands(&there.node, &revisions[0])).await;
    there.set_away(true);
    for entry in revisions[1..].iter().chain(&others) {
        put(&here, entry, false).await;
    }
    let before = there.server.requests();
    // More requests than the retries of one entry.
    eventually(async || there.server.requests() >= before + 15).await;
    assert!(stands(&there.node, &revisions[0]), "it was away");
    there.set_away(false);
    eventually(async || stands(&there.node, &revisions[2])).await;
    eventually(async || others.iter().all(|entry| stands(&there.node, entry))).await;
    let read = read_entry(&there.node.portal, revisions[0].id(), None, false).await.unwrap();
    assert_eq!(read.as_ref(), Some(&revisions[2]), "not the old one that it had");
}

/// The entries are in no outbox, as after a restart.
#[tokio::test]
async fn what_nobody_remembers_to_send_is_found_by_comparing() {
    let there = Shaky::new().await;
    let here = there.peer(quick());
    let [old, new] = [1, 2].map(|revision| entry(1, "older there", revision, b"a"));
    let missing = entry(2, "missing there", 7, b"b");
    let [known, newer] = [4, 5].map(|revision| entry(3, "newer there", revision, b"c"));
    let same = entry(4, "same", 1, b"d");
    for entry in [&new, &missing, &known, &same] {
        put(&here, entry, true).await;
    }
    for entry in [&old, &newer, &same] {
        put(&there.node, entry, true).await;
    }
    here.portal.stores().unwrap().peers.exchange().await;
    assert!(stands(&here, &newer));
    eventually(async || stands(&there.node, &new) && stands(&there.node, &missing)).await;
    let asked = there.server.requests();
    here.portal.stores().unwrap().peers.exchange().await;
    assert_eq!(there.server.requests(), asked + 4, "one question for each entry, and nothing to send");
}

#[tokio::test]
async fn it_is_done_by_itself_and_ends_with_the_portal() {
    let there = Shaky::new().await;
    let often = Duration::from_millis(10);
    let here = there.peer(Timing { first_exchange: often, between_exchanges: often, ..quick() });
    let stop = CancellationToken::new();
    let upkeep = tokio::spawn(Arc::clone(&here.portal).keep_up(stop.clone()));
    for revision in [1, 2] {
        let entry = entry(1, "a", revision, b"a");
        put(&here, &entry, true).await;
        eventually(async || stands(&there.node, &entry)).await;
    }
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(30), upkeep).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_peer_that_fails_is_asked_once_for_each_part_and_at_a_rate() {
    let failing = Server::fake(async |_| status(500)).await;
    let step = Duration::from_millis(5);
    let here = Node::open(vec![failing.url.clone()], |_| (), Timing { exchange_step: step, ..quick() });
    let entries: Vec<_> = (0..300).map(|n| entry(1, &n.to_string(), 1, b"a")).collect();
    for entry in &entries {
        put(&here, entry, true).await;
    }
    let parts: HashSet<u8> = entries.iter().map(|entry| entry.id().as_bytes()[0]).collect();
    let started = std::time::Instant::now();
    here.portal.stores().unwrap().peers.exchange().await;
    assert_eq!(failing.requests(), parts.len());
    assert!(started.elapsed() >= step * parts.len() as u32);
}
