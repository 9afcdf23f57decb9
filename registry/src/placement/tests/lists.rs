//! Lost lists of unit roots: they are restored from any source before content is read whole.

use std::fs;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use backends::skynet::testing::{Route, TestPortal};
use backends::skynet::{SkynetConfig, skynet_backend};
use backends::wrap::{Call, Fault};
use backends::{Backend, BackendError, Content, UNIT};

use super::cold::read;
use super::{GRACE, Node, large, settings, unavailable};
use crate::admin::Item;
use crate::admin::reply::Finding;
use crate::catalog::UnitRootsList;
use crate::catalog::command::Command;
use crate::content::unit_roots::list_of_bytes;
use crate::oci::Digest;
use crate::placement::Settings;
use crate::service::Error;
use crate::{admin, gc};

/// A range in the middle of content with at least four units, and the bytes of its units.
const PART: Range<u64> = UNIT + 5..2 * UNIT + 5;
const ITS_UNITS: u64 = 2 * UNIT;

impl Node {
    /// A large blob that is only at the backend, at an address that does not commit to the roots. The list of its roots
    /// is also there. Placement does not run.
    async fn with_cold_and_list(bytes: &[u8]) -> (Self, Digest, Digest) {
        let mut node = Node::new(GRACE, settings());
        let digest = node.fixture.push_blob(bytes).await;
        node.start();
        let list = node.until_both_read_back(&digest).await;
        node.stop().await;
        assert_eq!(node.evict().await, 1);
        node.faults.always(Call::UnitProof, Fault::Fail(|| BackendError::NotFound));
        (node, digest, list)
    }

    /// Waits until the content and its list are read back. Returns the list's digest.
    async fn until_both_read_back(&self, digest: &Digest) -> Digest {
        self.until_read_back(digest).await;
        let list = self.list_of(digest);
        self.until_read_back(&list).await;
        list
    }

    fn list_of(&self, digest: &Digest) -> Digest {
        self.recorded(digest).list
    }

    fn recorded(&self, digest: &Digest) -> UnitRootsList {
        self.fixture.registry.catalog().unit_roots(digest).unwrap().unwrap()
    }

    fn lose_file(&self, digest: &Digest) {
        fs::remove_file(self.fixture.file(digest)).unwrap();
    }

    /// Directly at the backend, without the node.
    async fn lose_there(&self, digest: &Digest) {
        let place = self.places(digest).remove(0).locator;
        let content = Content::new(digest.clone(), place.stored_size).unwrap();
        self.memory.delete(&content, &place).await.unwrap();
    }

    /// A fetch may still write for a moment after its last reader. A new reader then needs nothing from the backend.
    async fn until_left(&self, digest: &Digest) {
        let remote = self.fixture.registry.remote.as_ref().unwrap();
        self.until("no fetch is under way", |_| remote.origin.reads.get(digest).is_none()).await;
    }

    /// Reading a range costs only its units.
    async fn assert_cheap(&self, digest: &Digest, bytes: &[u8]) {
        self.until_left(digest).await;
        let before = self.fetched();
        let cold = self.cold(digest).await;
        assert!(read(&cold, PART).await.unwrap() == bytes[PART.start as usize..PART.end as usize]);
        assert_eq!(self.fetched() - before, ITS_UNITS, "and nothing else");
    }

    /// Reading the range costs everything. Then content and list are local again.
    async fn assert_dear(&self, digest: &Digest, bytes: &[u8]) {
        self.until_left(digest).await;
        let before = self.fetched();
        let cold = self.cold(digest).await;
        assert!(read(&cold, PART).await.unwrap() == bytes[PART.start as usize..PART.end as usize]);
        assert_eq!(self.fetched() - before, bytes.len() as u64);
        let list = list_of_bytes(bytes);
        let file = self.fixture.file(&self.list_of(digest));
        self.until("the list is here", |_| fs::read(&file).is_ok_and(|kept| kept == list)).await;
    }

    /// The findings of `fsck`, and whether they count as no fault.
    async fn fsck(&self, repair: bool) -> (Vec<Finding>, bool) {
        let (out, mut replies) = admin::Output::new();
        let registry = Arc::clone(&self.fixture.registry);
        let checking = tokio::spawn(async move { admin::run(&registry, admin::Command::Fsck { repair }, &out).await });
        let (mut found, mut sound) = (Vec::new(), false);
        while let Some(reply) = replies.recv().await {
            match reply {
                admin::Reply::Done(well) => sound = well,
                admin::Reply::Item(Item::Finding(finding)) => found.push(finding),
                _ => {}
            }
        }
        checking.await.unwrap();
        (found, sound)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_list_of_roots_comes_from_the_backend_and_is_here_again() {
    let bytes = large(4 * UNIT + 1);
    let (node, digest) = Node::with_cold(&bytes, settings()).await;
    let list = node.list_of(&digest);
    node.lose_file(&list);
    node.faults.always(Call::UnitProof, Fault::Fail(unavailable));
    let cold = node.cold(&digest).await;
    assert!(matches!(read(&cold, UNIT..UNIT + 9).await, Err(Error::BackendUnavailable)));
    node.faults.clear();
    let parts = [UNIT..UNIT + 9, 3 * UNIT - 1..3 * UNIT].map(|range| (range.clone(), read(&cold, range)));
    for (range, got) in parts {
        assert!(got.await.unwrap() == bytes[range.start as usize..range.end as usize]);
    }
    assert_eq!(node.fetched(), 2 * UNIT, "and nothing else");
    let kept = fs::read(node.fixture.file(&list)).unwrap();
    assert!(kept == list_of_bytes(&bytes));
    assert!(read(&cold, 0..bytes.len() as u64).await.unwrap() == bytes);
    assert_eq!(node.fetched(), bytes.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_without_roots_makes_one_fetch_of_everything() {
    let bytes = large(3 * UNIT + 5);
    let (node, digest, list) = Node::with_cold_and_list(&bytes).await;
    node.lose_file(&list);
    node.lose_there(&list).await;
    let cold = node.cold(&digest).await;
    let parts = [0..1, UNIT..UNIT + 1, 3 * UNIT..3 * UNIT + 5].map(|range| read(&cold, range));
    assert!(futures_util::future::join_all(parts).await.into_iter().all(|got| got.is_ok()));
    assert_eq!(node.fetched(), bytes.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_list_of_roots_costs_a_read_of_everything_if_the_backend_has_none() {
    let bytes = large(2 * UNIT + 1);
    let (node, digest, list) = Node::with_cold_and_list(&bytes).await;
    node.lose_file(&list);
    node.lose_there(&list).await;
    let cold = node.cold(&digest).await;
    // After the list.
    node.faults.at(Call::Get, 1, Fault::WrongByte(7));
    assert!(read(&cold, 5..9).await.unwrap() == bytes[5..9]);
    assert!(node.fetched() >= bytes.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_rotten_list_is_read_from_its_own_place_and_is_here_again() {
    let bytes = large(4 * UNIT + 1);
    let list = list_of_bytes(&bytes);
    let rotten = [&list[..40], b"!", &list[41..]].concat();
    for left in [None, Some(rotten), Some(b"short".to_vec())] {
        let (node, digest, name) = Node::with_cold_and_list(&bytes).await;
        node.lose_file(&name);
        if let Some(left) = left {
            fs::write(node.fixture.file(&name), left).unwrap();
        }
        node.assert_cheap(&digest, &bytes).await;
        assert!(fs::read(node.fixture.file(&name)).unwrap() == list);
        let gets = node.faults.calls(Call::Get);
        node.assert_cheap(&digest, &bytes).await;
        assert_eq!(node.faults.calls(Call::Get) - gets, 1, "the list is not read again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_does_not_come_at_once_is_asked_for_again() {
    let bytes = large(4 * UNIT + 1);
    let (node, digest, list) = Node::with_cold_and_list(&bytes).await;
    node.lose_file(&list);
    node.faults.at(Call::Get, 0, Fault::Fail(unavailable));
    node.faults.at(Call::Get, 1, Fault::BreakAfter(9, unavailable));
    node.assert_cheap(&digest, &bytes).await;
}

/// Content must not depend on files that only make reading a part of it cheaper.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_does_not_come_at_all_keeps_nobody_from_the_content() {
    let bytes = large(4 * UNIT + 1);
    let (node, digest, list) = Node::with_cold_and_list(&bytes).await;
    node.lose_file(&list);
    for attempt in 0..3 {
        node.faults.at(Call::Get, attempt, Fault::Fail(unavailable));
    }
    node.assert_dear(&digest, &bytes).await;
    assert!(node.places(&list)[0].read_back, "it may come another time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_stalls_is_not_waited_for_forever() {
    let bytes = large(4 * UNIT + 1);
    let (mut node, digest, list) = Node::with_cold_and_list(&bytes).await;
    node.settings.fetch.list_patience = Duration::from_millis(200);
    let node = node.restart(GRACE).await;
    node.lose_file(&list);
    node.faults.at(Call::Get, 0, Fault::Stall);
    node.assert_dear(&digest, &bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_the_backend_lost_or_changed_is_made_again_and_placed_again() {
    let bytes = large(4 * UNIT + 1);
    for fault in [None, Some(Fault::WrongByte(33))] {
        let (node, digest, list) = Node::with_cold_and_list(&bytes).await;
        node.lose_file(&list);
        match fault {
            Some(fault) => node.faults.at(Call::Get, 0, fault),
            None => node.lose_there(&list).await,
        }
        node.assert_dear(&digest, &bytes).await;
        assert_eq!((node.places(&list), node.durability().backlog.count), (vec![], 1));
        let mut node = node.restart(GRACE).await;
        node.start();
        node.until_read_back(&list).await;
        node.stop().await;
        assert_eq!(node.evict().await, 1);
        node.lose_file(&list);
        node.assert_cheap(&digest, &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_nowhere_is_made_from_the_content_that_is_here() {
    let bytes = large(2 * UNIT + 1);
    let mut node = Node::new(GRACE, settings());
    let digest = node.fixture.push_blob(&bytes).await;
    node.start();
    let list = node.until_both_read_back(&digest).await;
    for left in [None, Some(&b"short"[..]), Some(&[7; 96])] {
        node = node.restart(GRACE).await;
        node.lose_file(&list);
        if let Some(left) = left {
            fs::write(node.fixture.file(&list), left).unwrap();
        }
        node.lose_there(&list).await;
        let place = node.places(&list).remove(0);
        let lost = Command::RecordUnplaced { digest: list.clone(), locator: place.locator, standing: place.sequence };
        node.fixture.registry.catalog().commit(vec![lost]).await.unwrap();
        node.start();
        node.until_read_back(&list).await;
        assert!(fs::read(node.fixture.file(&list)).unwrap() == list_of_bytes(&bytes));
        assert!(node.is_there(&list, 96).await);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_between_content_and_its_list_leaves_the_list_to_be_placed() {
    let bytes = large(4 * UNIT + 1);
    let mut node = Node::new(GRACE, Settings { transfers: 1, ..settings() });
    let digest = node.fixture.push_blob(&bytes).await;
    node.faults.at(Call::Put, 1, Fault::Stall);
    node.start();
    node.until("the list is on its way", |node| node.faults.calls(Call::Put) == 2).await;
    let list = node.list_of(&digest);
    assert!(node.places(&digest)[0].read_back && node.places(&list).is_empty());
    assert_eq!(node.durability().to_string(), "safe to close: no, 1 blob, 160 B");
    let mut node = node.restart(GRACE).await;
    // The content may be evicted at any time, but its list stays.
    assert_eq!(node.evict().await, 1);
    assert_eq!((node.durability().backlog.count, node.fixture.file(&list).exists()), (1, true));
    node.start();
    node.until_read_back(&list).await;
    node.stop().await;
    node.faults.always(Call::UnitProof, Fault::Fail(|| BackendError::NotFound));
    node.lose_file(&list);
    node.assert_cheap(&digest, &bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_made_anew_knows_where_lists_are() {
    let bytes = large(4 * UNIT + 1);
    let (node, digest, list) = Node::with_cold_and_list(&bytes).await;
    let before = (node.recorded(&digest), node.places(&list));
    node.fixture.registry.catalog().close();
    fs::remove_dir_all(node.fixture.folder.path().join("index")).unwrap();
    let node = node.restart(GRACE).await;
    assert_eq!((node.recorded(&digest), node.places(&list)), before);
    node.lose_file(&list);
    node.assert_cheap(&digest, &bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fsck_tells_a_lost_list_from_a_damaged_one() {
    let bytes = large(4 * UNIT + 1);
    let (node, digest, list) = Node::with_cold_and_list(&bytes).await;
    assert!(node.fsck(false).await.1);
    node.lose_file(&list);
    let missing = Finding::ListMissing { digest: list.clone() };
    assert_eq!(node.fsck(true).await, (vec![missing], true));
    fs::write(node.fixture.file(&list), b"rotten").unwrap();
    let damaged = Finding::ListDamaged { digest: list.clone() };
    assert_eq!(node.fsck(false).await, (vec![damaged.clone()], false));
    let put_aside = Finding::PutAside { digest: list.clone(), list: true };
    assert_eq!(node.fsck(true).await, (vec![damaged, put_aside], false));
    assert!(!node.fixture.file(&list).exists() && node.fsck(false).await.1);
    node.assert_cheap(&digest, &bytes).await;
}

/// Roots are computed without checking the digest. So they may come from a file damaged since the push, and content
/// that is pushed again has other roots.
#[tokio::test(flavor = "multi_thread")]
async fn roots_of_a_damaged_file_are_put_right_when_it_comes_again() {
    for profile in ["4MiB/1+4", "64KiB/3+2"] {
        let (portal, backend) = a_portal(profile).await;
        let mut node = Node::with(GRACE, settings(), backend);
        let bytes = large(UNIT + 1000);
        let digest = node.fixture.push_blob(&bytes).await;
        let rotten = [&bytes[..9], b"rot", &bytes[12..]].concat();
        node.lose_file(&digest);
        fs::write(node.fixture.file(&digest), &rotten).unwrap();
        node.start();
        node.until("put aside", |node| !node.fixture.file(&digest).exists()).await;
        let wrong = node.list_of(&digest);
        node.fixture.push_blob(&bytes).await;
        node.until_read_back(&digest).await;
        let list = node.list_of(&digest);
        assert!(wrong != list && fs::read(node.fixture.file(&list)).unwrap() == list_of_bytes(&bytes), "{profile}");
        node.until("the wrong one unpinned", |node| node.places(&wrong).is_empty()).await;
        assert!(!node.fixture.registry.catalog().is_referenced(&wrong).unwrap());
        node.stop().await;
        drop(portal);
    }
}

async fn a_portal(profile: &str) -> (TestPortal, Arc<dyn Backend>) {
    let profile = profile.parse().unwrap();
    let portal = TestPortal::start(profile).await;
    let backend = skynet_backend(&SkynetConfig { profile, ..SkynetConfig::new(vec![portal.config()]) });
    (portal, backend.unwrap())
}

/// Ten data pieces per chunk: no sector is a unit, so no address commits to unit roots.
#[tokio::test(flavor = "multi_thread")]
async fn portals_of_several_data_pieces_give_the_list_and_then_single_units() {
    let (portal, backend) = a_portal("64KiB/10+20").await;
    let mut node = Node::with(GRACE, settings(), backend);
    let bytes = large(4 * UNIT + 1);
    let digest = node.fixture.push_blob(&bytes).await;
    node.start();
    let list = node.until_both_read_back(&digest).await;
    node.stop().await;
    assert_eq!(node.evict().await, 1);
    node.lose_file(&list);
    let (reads, skylink) = (portal.calls(Route::Get), node.places(&list).remove(0).locator.address);
    node.assert_cheap(&digest, &bytes).await;
    assert_eq!((portal.calls(Route::Get) - reads, portal.calls(Route::BaseSector)), (2, 0));
    assert!(portal.requests().contains(&format!("GET /{skylink}")));
    assert!(fs::read(node.fixture.file(&list)).unwrap() == list_of_bytes(&bytes));

    // It is unreferenced now, and unpinned with its content.
    let mut node = node.restart(Duration::ZERO).await;
    node.start();
    gc::collect(&node.fixture.registry, false).await.unwrap();
    node.until("unpinned", |node| node.places(&digest).is_empty() && node.places(&list).is_empty()).await;
    node.stop().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!portal.has(&skylink) && !node.fixture.file(&list).exists());
}
