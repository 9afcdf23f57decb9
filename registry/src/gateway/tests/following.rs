//! The records follow the journal, and continue after a restart.

use std::pin::pin;

use super::*;
use crate::gateway::follow::WALK_PAGE;
use crate::gateway::state::{State, Walk};

#[tokio::test]
async fn lost_records_are_made_again() {
    let node = Node::new();
    let contents = [noise(700, 6), noise(4 * MIB - 120, 7), noise(5 * MIB, 8)];
    let portal = Uploader::new();
    let mut links = Vec::new();
    for content in &contents {
        let digest = node.push(content).await;
        links.push(portal.upload(&digest, content).await);
    }
    // Lost, from another journal, from another profile, half written.
    let folder = node.fixture.folder.path().join("gateway");
    let state = node.gateway.records.state.get().unwrap();
    let after = Some("sha256:7".to_owned() + &"0".repeat(63));
    let walk = Some(Walk { after: after.map(|after| after.parse().unwrap()) });
    let spoilt = [
        State { journal: "another".to_owned(), ..state.clone() },
        State { profile: "4MiB/1+2".to_owned(), ..state.clone() },
        State { format: 1, ..state.clone() },
        State { walk: Some(Walk::default()), ..state.clone() },
        State { walk, ..state.clone() },
        State { sequence: 0, ..state.clone() },
    ];
    let mut node = node;
    for spoil in 0..=spoilt.len() {
        match spoilt.get(spoil) {
            Some(state) => node.gateway.records.state.set(state).unwrap(),
            None => fs::remove_dir_all(&folder).unwrap(),
        }
        node = Node::with(node.fixture, "4MiB/1+4");
        node.catch_up().await;
        for (link, content) in links.iter().zip(&contents) {
            assert!(bytes(node.get(&format!("/{link}")).await).await == *content, "{spoil}");
        }
        let last = node.fixture.registry.catalog().status().sequence;
        assert_eq!(node.gateway.records.state.get().unwrap().sequence, last);
    }
}

#[tokio::test]
async fn the_records_follow_what_is_pushed() {
    let node = Node::new();
    let stop = CancellationToken::new();
    let following = tokio::spawn(node.gateway.clone().follow(stop.clone()));
    let content = noise(3000, 9);
    let digest = node.fixture.push_blob(&content).await;
    let manifest = node.fixture.push_manifest(&digest, content.len()).await;
    let size = node.fixture.registry.catalog().referenced_size(&manifest).unwrap().unwrap();
    let body = node.fixture.registry.store().read_verified(&manifest, size).unwrap();
    let portal = Uploader::new();
    for (digest, content) in [(digest, content), (manifest, body)] {
        let link = portal.upload(&digest, &content).await;
        let mut tries = 0;
        while node.status(&format!("/{link}")).await != 200 {
            tries += 1;
            assert!(tries < 500, "it does not come");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(bytes(node.get(&format!("/{link}")).await).await == content);
    }
    stop.cancel();
    following.await.unwrap();
}

/// Opens the gateway of a registry with these records, as after a crash.
fn again(node: Node, profile: &str) -> Node {
    let Node { fixture, .. } = node;
    Node::with(fixture, profile)
}

#[tokio::test]
async fn a_first_build_that_breaks_off_goes_on_where_it_was() {
    const CONTENTS: u64 = 30;
    let profile = "4KiB/2+1";
    let mut node = Node::of(profile);
    let mut contents = Vec::new();
    for number in 0..CONTENTS {
        let content = noise(3000 + 1000 * number as usize, number);
        node.fixture.push_blob(&content).await;
        contents.push(content);
    }
    let (mut looked_at, mut breaks) = (0, 0);
    loop {
        let before = node.gateway.records.state.get();
        let mut state = node.gateway.begin().await.unwrap();
        assert!(before.is_none_or(|before| before == state), "it began anew");
        let reached = state.walk.clone();
        let stop = CancellationToken::new();
        {
            let mut catching_up = pin!(node.gateway.catch_up(&mut state, &stop));
            while futures_util::poll!(catching_up.as_mut()).is_pending() {
                if node.gateway.records.state.get().unwrap().walk != reached && breaks < 4 {
                    breaks += 1;
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        looked_at += node.gateway.looked_at.load(std::sync::atomic::Ordering::Relaxed);
        if node.gateway.records.state.get().unwrap().walk.is_none() {
            break;
        }
        node = again(node, profile);
    }
    assert_eq!(breaks, 4);
    // Only the page in progress is examined again.
    assert!(looked_at <= CONTENTS + 4 * WALK_PAGE as u64, "{looked_at} looks at {CONTENTS} contents");
    let portal = Uploader::of(profile, Vec::new());
    for content in &contents {
        let digest = Digest::of(crate::oci::Algorithm::Sha256, content);
        let link = portal.upload(&digest, content).await;
        assert!(bytes(node.get(&format!("/{link}")).await).await == *content);
    }
    // The whole state survives the next start.
    let node = again(node, profile);
    node.catch_up().await;
    assert_eq!(node.gateway.looked_at.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_fanout_is_not_computed_twice() {
    let profile = "4KiB/2+1";
    let node = Node::of(profile);
    let content = noise(50_000, 3);
    let digest = node.push(&content).await;
    let link = Uploader::of(profile, Vec::new()).upload(&digest, &content).await;
    // The state is lost, but not the computed fanout: content without a file gets its record again.
    let state = node.gateway.records.state.get().unwrap();
    node.gateway.records.state.set(&State { walk: Some(Walk::default()), ..state }).unwrap();
    let root = link.parse::<Skylink>().unwrap();
    let hidden = node.fixture.folder.path().join("hidden");
    fs::rename(node.fixture.file(&digest), &hidden).unwrap();
    fs::remove_dir_all(node.fixture.folder.path().join("gateway/links")).unwrap();
    let node = again(node, profile);
    node.catch_up().await;
    assert_eq!((count(&node), node.status(&format!("/{root}")).await), (1, 404));
    fs::rename(hidden, node.fixture.file(&digest)).unwrap();
    assert!(bytes(node.get(&format!("/{root}")).await).await == content);
}

#[tokio::test]
async fn damaged_content_gets_no_skylink_and_is_put_aside() {
    let node = Node::of("4KiB/2+1");
    let content = noise(70_000, 3);
    let digest = node.fixture.push_blob(&content).await;
    let file = node.fixture.file(&digest);
    let mut damaged = content.clone();
    damaged[66_000] ^= 1;
    fs::remove_file(&file).unwrap();
    fs::write(&file, damaged).unwrap();
    node.catch_up().await;
    assert_eq!((count(&node), file.exists()), (0, false));
    // After it is pushed again and mounted elsewhere, so that a fact names it, it is there again.
    node.fixture.push_blob(&content).await;
    let link =
        Command::LinkBlob { repository: "open".parse().unwrap(), digest: digest.clone(), size: content.len() as u64 };
    node.fixture.registry.catalog().commit(vec![link]).await.unwrap();
    node.catch_up().await;
    let link = Uploader::of("4KiB/2+1", Vec::new()).upload(&digest, &content).await;
    assert!(bytes(node.get(&format!("/{link}")).await).await == content);
}
