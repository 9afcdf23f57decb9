//! Entries between portals.

use data_encoding::HEXLOWER;
use serde_json::json;
use skynet_formats::entry::{EntryAnswer, EntryPost, SignedEntry};
use skynet_formats::proof::{proof_header, verify_proof};

use super::*;
use crate::entries::EntryStoreError;
use crate::entries::tests::entry;
use crate::peers::client::http_client;
use crate::registry::{put_entries, read_entry, resolve_link};

impl Node {
    async fn put(&self, entry: &SignedEntry) {
        put_entries(&self.portal, vec![entry.clone()], None, false).await.unwrap();
    }

    async fn put_only_here(&self, entry: &SignedEntry) {
        put_entries(&self.portal, vec![entry.clone()], None, true).await.unwrap();
    }

    async fn entry(&self, entry: &SignedEntry) -> Option<SignedEntry> {
        read_entry(&self.portal, entry.id(), None, false).await.unwrap()
    }

    fn has(&self, entry: &SignedEntry) -> bool {
        self.portal.stores().unwrap().entries.get(&entry.id()).unwrap().as_ref() == Some(entry)
    }
}

/// Three portals, each with the two others as peers.
async fn three() -> ([Node; 3], Vec<Server>) {
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(TcpListener::bind(("127.0.0.1", 0)).await.unwrap());
    }
    let urls: Vec<String> = listeners.iter().map(|one| format!("http://{}", one.local_addr().unwrap())).collect();
    let others =
        |node: usize| urls.iter().enumerate().filter(|(at, _)| *at != node).map(|(_, url)| url.clone()).collect();
    let nodes = std::array::from_fn(|node| Node::with(others(node), |_| ()));
    let servers = listeners.into_iter().zip(&nodes).map(|(listener, node)| Server::on(listener, node.router()));
    let servers = servers.collect();
    (nodes, servers)
}

#[tokio::test]
async fn an_entry_spreads_to_all_and_no_further() {
    let (nodes, servers) = three().await;
    let client = http_client(&Timing::default()).unwrap();
    for revision in [1, u64::MAX] {
        let entry = entry(1, "a", revision, b"a");
        let post = client.post(format!("{}/skynet/registry", servers[0].url)).json(&EntryPost::from(&entry));
        assert_eq!(post.send().await.unwrap().status(), 204);
        assert!(nodes[0].has(&entry), "stored before the answer");
        eventually(async || nodes.iter().all(|node| node.has(&entry))).await;
    }
    // An equal entry is not passed on.
    nodes[1].put(&entry(1, "a", u64::MAX, b"a")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let requests: Vec<_> = servers.iter().map(Server::requests).collect();
    assert_eq!(requests, [2, 2, 2], "the client's, and one for each entry");
}

#[tokio::test]
async fn what_is_absent_is_asked_for_and_the_best_is_kept() {
    let (nodes, servers) = three().await;
    let [old, new] = [entry(1, "a", 3, b"old"), entry(1, "a", 4, b"new")];
    nodes[1].put_only_here(&old).await;
    nodes[2].put_only_here(&new).await;
    assert_eq!(nodes[0].entry(&old).await, Some(new.clone()));
    assert!(nodes[0].has(&new));
    let asked = servers[1].requests() + servers[2].requests();
    assert_eq!(nodes[0].entry(&old).await, Some(new));
    assert_eq!(servers[1].requests() + servers[2].requests(), asked, "what is here is not asked for");
    assert_eq!(nodes[0].entry(&entry(9, "absent", 0, b"")).await, None);
}

#[tokio::test]
async fn a_resolver_skylink_leads_over_entries_of_peers() {
    let (nodes, servers) = three().await;
    let link = |entry: &SignedEntry| Skylink::v2(*entry.id().as_bytes());
    let (skylink, content) = nodes[2].upload(3 * SECTOR).await;
    let last = entry(1, "last", 0, &skylink.to_bytes());
    let first = entry(1, "first", 0, &link(&last).to_bytes());
    nodes[1].put_only_here(&first).await;
    nodes[2].put_only_here(&last).await;
    let resolved = resolve_link(&nodes[0].portal, &link(&first), None).await.unwrap();
    let proof = proof_header(&resolved.passed).unwrap();
    assert_eq!(verify_proof(link(&first), &proof).unwrap(), resolved);
    assert_eq!(nodes[0].read(resolved.skylink).await, Some(content));
    drop(servers);
}

#[tokio::test]
async fn a_peer_that_knows_better_teaches() {
    let (nodes, _servers) = three().await;
    let [old, new] = [entry(1, "a", 3, b"old"), entry(1, "a", 4, b"new")];
    nodes[1].put_only_here(&new).await;
    nodes[0].put(&old).await;
    eventually(async || nodes[0].has(&new)).await;
}

#[tokio::test]
async fn a_peer_that_fails_for_a_while_gets_the_entry_later() {
    for (code, expected) in [(503, 3), (429, 3), (403, 1)] {
        let fake = Server::fake(move |_| async move { status(code) }).await;
        let node = Node::new(&[&fake]);
        node.put(&entry(1, "a", 1, b"a")).await;
        eventually(async || fake.requests() == expected).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(fake.requests(), expected, "{code}");
    }
}

#[tokio::test]
async fn many_entries_arrive_all() {
    let (nodes, _servers) = three().await;
    let entries: Vec<_> = (0..40).map(|n| entry(n % 5, &n.to_string(), 1, b"a")).collect();
    for entry in &entries {
        nodes[usize::from(entry.entry().revision() == 0)].put(entry).await;
    }
    eventually(async || entries.iter().all(|entry| nodes.iter().all(|node| node.has(entry)))).await;
}

fn answer(entry: &SignedEntry) -> serde_json::Value {
    json!(EntryAnswer::from(entry))
}

#[tokio::test]
async fn lies_about_entries_are_not_believed() {
    let wanted = entry(1, "a", 3, b"a");
    let other = answer(&entry(1, "b", 3, b"a"));
    let mut newer = answer(&wanted);
    newer["revision"] = json!(4);
    let mut forged = answer(&wanted);
    forged["data"] = json!(HEXLOWER.encode(b"forged"));
    for lie in [other.to_string(), newer.to_string(), forged.to_string(), "{}".to_owned(), " ".repeat(5000)] {
        let fake = Server::fake(move |_| std::future::ready(Response::new(Body::from(lie.clone())))).await;
        assert_eq!(Node::new(&[&fake]).entry(&wanted).await, None);
        let honest = Node::new(&[]);
        honest.put(&wanted).await;
        let server = honest.serve().await;
        assert_eq!(Node::new(&[&fake, &server]).entry(&wanted).await.as_ref(), Some(&wanted));
    }
}

#[tokio::test]
async fn a_peer_that_stalls_does_not_keep_the_answer_of_another() {
    let stalling = Server::fake(async |_| std::future::pending().await).await;
    let honest = Node::new(&[]);
    let wanted = entry(1, "a", 3, b"a");
    honest.put(&wanted).await;
    let server = honest.serve().await;
    let node = Node::impatient(&[&stalling, &server]);
    let started = tokio::time::Instant::now();
    assert_eq!(node.entry(&wanted).await, Some(wanted));
    assert!(started.elapsed() < impatient().entry, "{:?}", started.elapsed());
    assert_eq!(Node::impatient(&[&stalling]).entry(&entry(1, "b", 0, b"")).await, None);
}

#[tokio::test]
async fn an_entry_for_which_there_is_no_room_is_answered_all_the_same() {
    let honest = Node::new(&[]);
    let wanted = entry(1, "a", 3, b"a");
    honest.put(&wanted).await;
    let server = honest.serve().await;
    let node = Node::with(vec![server.url.clone()], |options| options.max_entries = 0);
    assert_eq!(node.entry(&wanted).await.as_ref(), Some(&wanted));
    assert!(!node.has(&wanted));
}

#[tokio::test]
async fn a_peer_that_asks_for_a_key_gets_it_and_nobody_sees_it() {
    let locked = Node::with(Vec::new(), |options| options.api_keys = crate::ApiKeys::new(["secret"]));
    let server = locked.serve().await;
    let node = Node::with(vec![server.url.clone()], |options| options.peer_key = crate::PeerKey::new("secret"));
    let entry = entry(1, "a", 3, b"a");
    node.put(&entry).await;
    eventually(async || locked.has(&entry)).await;
    assert!(!format!("{:?}", node.portal.options).contains("secret"));
    assert!(!format!("{:?}", node.portal.stores().unwrap().peers).contains("secret"));
}

/// Every lookup of an absent entry waited for it, and lookups waited for each other: a reader had no answer for 30 s.
#[tokio::test]
async fn readers_wait_for_a_silent_peer_once() {
    let silent = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_silent = Arc::clone(&silent);
    let mute = Server::fake(move |_| {
        let is_silent = is_silent.load(Ordering::Relaxed);
        async move {
            if is_silent {
                std::future::pending::<()>().await;
            }
            status(404)
        }
    })
    .await;
    let honest = Node::new(&[]);
    let wanted = entry(1, "a", 1, b"a");
    honest.put(&wanted).await;
    let served = honest.serve().await;
    let node = Node::impatient(&[&mute, &served]);
    let absent = |n: u8| entry(9, &format!("absent {n}"), 0, b"");
    assert_eq!(node.entry(&absent(0)).await, None);
    let others = async {
        for n in 1..20 {
            assert_eq!(node.entry(&absent(n)).await, None);
        }
        node.entry(&wanted).await
    };
    let found = tokio::time::timeout(impatient().entry, others).await.expect("readers do not wait for it again");
    assert_eq!(found, Some(wanted), "the other peer is still asked");
    silent.store(false, Ordering::Relaxed);
    let asked = mute.requests();
    eventually(async || {
        node.entry(&absent(0)).await;
        mute.requests() > asked + 2
    })
    .await;
}

/// Anybody could have all peers asked as often as they liked.
#[tokio::test]
async fn an_address_looks_up_absent_entries_at_a_rate() {
    let peer = Server::fake(async |_| status(404)).await;
    let node = Node::with(vec![peer.url.clone()], |options| options.lookup_rate = 1);
    let here = entry(1, "here", 1, b"a");
    node.put_only_here(&here).await;
    let absent = entry(9, "absent", 0, b"").id();
    let look_up = |id, last: u8| read_entry(&node.portal, id, Some([192, 0, 2, last].into()), false);
    for _ in 0..10 {
        assert!(matches!(look_up(absent, 1).await, Ok(None)));
    }
    assert!(matches!(look_up(absent, 1).await, Err(EntryStoreError::TooManyLookups { .. })));
    assert_eq!(look_up(here.id(), 1).await.unwrap(), Some(here), "what is here costs the peers nothing");
    assert!(matches!(look_up(absent, 2).await, Ok(None)), "another address is not held back");
}
