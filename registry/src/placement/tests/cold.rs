//! Content that was evicted, and comes back when it is read.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use backends::wrap::{Call, Fault};
use backends::{UNIT, UnitHash};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::{GRACE, Node, large, settings, unavailable};
use crate::content::unit_hashes;
use crate::fetch;
use crate::oci::{Algorithm, Digest, Reference};
use crate::placement::Settings;
use crate::placement::eviction::pass;
use crate::service::{Blob, ColdBlob, Error, Found, MayPull, Start};
use crate::testing::incoming;
use crate::{admin, gc};

impl Node {
    /// A large blob that is only at the backend. Placement does not run.
    pub(crate) async fn with_cold(bytes: &[u8], settings: Settings) -> (Self, Digest) {
        let mut node = Node::new(GRACE, settings);
        let digest = node.fixture.push_blob(bytes).await;
        node.start();
        node.until_read_back(&digest).await;
        node.stop().await;
        assert_eq!(node.evict().await, 1);
        assert!(!node.fixture.file(&digest).exists());
        (node, digest)
    }

    pub(super) async fn evict(&self) -> u64 {
        pass(self.fixture.registry.content(), self.fixture.registry.remote().unwrap(), 1, &CancellationToken::new())
            .await
            .unwrap()
    }

    pub(super) async fn cold(&self, digest: &Digest) -> ColdBlob {
        match self.fixture.registry.open_blob(&self.fixture.repository, digest).await.unwrap() {
            Found::Cold(cold) => cold,
            Found::Here(blob) => panic!("{blob:?}"),
        }
    }

    pub(super) fn fetched(&self) -> u64 {
        self.fixture.registry.metrics.cold_bytes.get()
    }
}

/// An answer waits this long for the first unit.
fn waiting(first_unit: Duration) -> Settings {
    Settings { fetch: fetch::Settings { first_unit, ..fetch::Settings::default() }, ..settings() }
}

pub(super) async fn read(cold: &ColdBlob, range: Range<u64>) -> Result<Vec<u8>, Error> {
    let pieces = cold.read(range).await?.try_collect::<Vec<_>>().await;
    Ok(pieces.map_err(|_| Error::BackendUnavailable)?.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_read_back_goes_and_the_least_used_first() {
    let mut node = Node::new(GRACE, settings());
    let (old, young) = (node.fixture.push_blob(b"used long ago").await, node.fixture.push_blob(b"used today").await);
    assert_eq!(node.evict().await, 0, "nothing is placed");
    node.faults.always(Call::Get, Fault::Stall);
    node.start();
    node.until("placed", |node| node.durability().backlog.count == 0).await;
    assert_eq!(node.evict().await, 0, "nothing was read back");
    let mut node = node.restart(GRACE).await;
    node.faults.clear();
    node.start();
    node.until_read_back(&old).await;
    node.until_read_back(&young).await;
    node.stop().await;
    let long_ago = SystemTime::now() - Duration::from_hours(9);
    fs::File::open(node.fixture.file(&old)).unwrap().set_modified(long_ago).unwrap();
    let registry = &node.fixture.registry;
    assert_eq!(pass(registry.content(), registry.remote().unwrap(), 12, &CancellationToken::new()).await.unwrap(), 1);
    assert!(!node.fixture.file(&old).exists() && node.fixture.file(&young).exists());
    assert!(node.fixture.has(&old).await, "clients are told that it is there");
    let (out, mut replies) = admin::Output::new();
    admin::run(registry, admin::Command::Fsck { repair: false }, &out).await;
    drop(out);
    let mut last = None;
    while let Some(reply) = replies.recv().await {
        last = Some(reply);
    }
    assert_eq!(last, Some(admin::Reply::Done(true)), "it is not missed either");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_removed_there_stays_here() {
    let mut node = Node::new(Duration::ZERO, Settings { settle: Duration::from_hours(1), ..settings() });
    node.start();
    let digest = node.fixture.push_blob(b"pushed, deleted, pushed").await;
    node.until_read_back(&digest).await;
    node.faults.always(Call::Delete, Fault::Fail(unavailable));
    gc::collect(&node.fixture.registry, false).await.unwrap();
    node.fixture.push_blob(b"pushed, deleted, pushed").await;
    assert_eq!(node.evict().await, 0, "an unpin is pending, or was a moment ago");
    node.until("placed again", |node| node.places(&digest).iter().all(|placement| !placement.unpin_pending)).await;
    assert_eq!(node.evict().await, 0, "it was a moment ago");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_clients_make_one_fetch_and_the_file_is_here_again() {
    let bytes = large(3 * UNIT + 77);
    let (node, digest) = Node::with_cold(&bytes, settings()).await;
    let roots = node.fixture.registry.catalog().unit_roots(&digest).unwrap().unwrap();
    assert!(node.fixture.file(&roots.list).exists(), "the roots stay");
    let before = node.faults.calls(Call::Get);
    let cold = node.cold(&digest).await;
    let clients = (0..16).map(|_| read(&cold, 0..bytes.len() as u64));
    for got in futures_util::future::join_all(clients).await {
        assert!(got.unwrap() == bytes);
    }
    assert_eq!((node.faults.calls(Call::Get) - before, node.fetched()), (1, bytes.len() as u64));
    drop(cold);
    node.until("here again", |node| node.fixture.file(&digest).exists()).await;
    let found = node.fixture.registry.open_blob(&node.fixture.repository, &digest).await.unwrap();
    assert!(matches!(found, Found::Here(_)), "{found:?}");
    assert_eq!(node.evict().await, 1, "and may go again");
}

/// As on a node that lost them, and on one whose file belongs to other content.
#[tokio::test(flavor = "multi_thread")]
async fn cold_reads_do_without_hashes_of_units_and_with_wrong_ones() {
    let bytes = large(2 * UNIT + 77);
    let length = bytes.len() as u64;
    let (node, digest) = Node::with_cold(&bytes, settings()).await;
    let registry = &node.fixture.registry;
    let directory = registry.content.unit_hashes.as_ref().unwrap();
    let known = registry.content.unit_hashes(&digest).unwrap().unwrap();
    assert_eq!(known[..], bytes.chunks(UNIT as usize).map(UnitHash::of).collect::<Vec<_>>());
    let list = registry.catalog().unit_roots(&digest).unwrap().unwrap().list;
    for wrong in [None, Some(UnitHash::of(b"something else"))] {
        match wrong {
            None => fs::remove_dir_all(directory).unwrap(),
            Some(wrong) => {
                fs::create_dir_all(directory).unwrap();
                unit_hashes::keep(directory, &digest, &list, &vec![wrong; known.len()]);
            }
        }
        let cold = node.cold(&digest).await;
        assert!(read(&cold, 0..length).await.unwrap() == bytes, "{wrong:?}");
        drop(cold);
        node.until("here again", |node| node.fixture.file(&digest).exists()).await;
        assert_eq!(node.evict().await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_costs_at_most_a_unit_more_at_each_end() {
    let bytes = large(6 * UNIT);
    let (node, digest) = Node::with_cold(&bytes, settings()).await;
    let cold = node.cold(&digest).await;
    let range = UNIT + 5..3 * UNIT + 5;
    let got = read(&cold, range.clone()).await.unwrap();
    assert!(got == bytes[range.start as usize..range.end as usize]);
    assert_eq!(node.fetched(), 3 * UNIT);
    assert!(read(&cold, 2 * UNIT..2 * UNIT + 1).await.unwrap() == bytes[2 * UNIT as usize..=2 * UNIT as usize]);
    assert_eq!(node.fetched(), 3 * UNIT, "it came before");
    assert!(read(&cold, 0..bytes.len() as u64).await.unwrap() == bytes);
    assert_eq!(node.fetched(), 6 * UNIT, "only what was missing");
    node.until("here again", |node| node.fixture.file(&digest).exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges_cost_the_units_they_touch_and_come_in_the_order_asked() {
    let bytes = large(9 * UNIT + 9);
    let (node, digest) = Node::with_cold(&bytes, settings()).await;
    let cold = node.cold(&digest).await;
    // By unit: the fifth and sixth by adjacent ranges, then the third, then the fifth again, then the end.
    let ranges = [
        4 * UNIT + 7..4 * UNIT + 9,
        5 * UNIT - 1..5 * UNIT,
        5 * UNIT..5 * UNIT + 3,
        2 * UNIT..2 * UNIT + 1,
        5 * UNIT - 1..5 * UNIT + 1,
        9 * UNIT..9 * UNIT + 9,
    ];
    let before = node.faults.calls(Call::Get);
    let pieces = cold.read_several(ranges.to_vec()).await.unwrap().try_collect::<Vec<_>>().await;
    let want: Vec<&[u8]> = ranges.iter().map(|range| &bytes[range.start as usize..range.end as usize]).collect();
    assert!(pieces.unwrap().concat() == want.concat());
    assert_eq!(node.fetched(), 3 * UNIT + 9);
    assert_eq!(node.faults.calls(Call::Get) - before, 3, "neighbours come by one fetch");
}

#[test]
fn ranges_in_any_order_are_their_bytes_and_cost_their_units() {
    const UNITS: u64 = 6;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bytes = large(UNITS * UNIT);
    let (node, digest) = runtime.block_on(Node::with_cold(&bytes, settings()));
    // Around borders of units. The last unit is never touched, so the file does not come back.
    let range =
        (1..UNITS - 1, -20..20_i64, prop_oneof![9 => 1..50_u64, 1 => 1..UNIT]).prop_map(|(unit, offset, length)| {
            let start = (unit * UNIT).saturating_add_signed(offset);
            start..(start + length).min((UNITS - 1) * UNIT)
        });
    proptest!(ProptestConfig::with_cases(32), |(ranges in prop::collection::vec(range, 1..12))| {
        let before = node.fetched();
        let pieces = runtime.block_on(async {
            // What the earlier reads fetched is dropped with the last of them.
            let remote = node.fixture.registry.remote.as_ref().unwrap();
            node.until("no cold read", |_| remote.origin.reads.get(&digest).is_none()).await;
            let cold = node.cold(&digest).await;
            cold.read_several(ranges.clone()).await.unwrap().try_collect::<Vec<_>>().await.unwrap()
        });
        let want: Vec<&[u8]> = ranges.iter().map(|range| &bytes[range.start as usize..range.end as usize]).collect();
        prop_assert!(pieces.concat() == want.concat());
        let units: BTreeSet<u64> = ranges.iter().flat_map(|range| range.start / UNIT..range.end.div_ceil(UNIT)).collect();
        prop_assert_eq!(node.fetched() - before, units.len() as u64 * UNIT);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_ranges_of_one_unit_cost_one_fetch() {
    let bytes = large(3 * UNIT);
    let (node, digest) = Node::with_cold(&bytes, settings()).await;
    let cold = node.cold(&digest).await;
    let ranges: Vec<_> = (0..1024).map(|number| UNIT + number * 4000..UNIT + number * 4000 + 2).collect();
    let before = node.faults.calls(Call::Get);
    let pieces = cold.read_several(ranges.clone()).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(pieces.len(), ranges.len());
    assert!(pieces.iter().zip(ranges).all(|(piece, range)| **piece == bytes[range.start as usize..range.end as usize]));
    assert_eq!((node.faults.calls(Call::Get) - before, node.fetched()), (1, UNIT));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_wrong_byte_leaves_in_a_later_range() {
    let bytes = large(3 * UNIT);
    let (node, digest) = Node::with_cold(&bytes, settings()).await;
    let cold = node.cold(&digest).await;
    let mut stream = cold.read_several(vec![9..12, 2 * UNIT..2 * UNIT + 99]).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), bytes[9..12]);
    node.faults.always(Call::Get, Fault::WrongByte(9));
    assert!(stream.next().await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_wrong_byte_leaves() {
    let bytes = large(3 * UNIT);
    let (node, digest) = Node::with_cold(&bytes, settings()).await;
    let cold = node.cold(&digest).await;
    node.faults.at(Call::Get, 0, Fault::WrongByte(UNIT + 9));
    node.faults.always(Call::Get, Fault::WrongByte(9));
    let mut stream = cold.read(0..bytes.len() as u64).await.unwrap();
    let mut got = Vec::new();
    let ended = loop {
        match stream.next().await {
            Some(Ok(piece)) => got.extend_from_slice(&piece),
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    assert!(ended.is_some() && got == bytes[..UNIT as usize], "the first unit was right, and nothing else");
    node.faults.clear();
    assert!(read(&cold, 0..bytes.len() as u64).await.unwrap() == bytes, "the next one tries again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_got_whole_is_kept_though_it_leaves_at_once() {
    let bytes = large(5 * UNIT + 9);
    let (node, digest) = Node::with_cold(&bytes, settings()).await;
    let cold = node.cold(&digest).await;
    assert!(read(&cold, 0..bytes.len() as u64).await.unwrap() == bytes);
    drop(cold);
    node.until("here again", |node| node.fixture.file(&digest).exists()).await;
    assert!(fs::read(node.fixture.file(&digest)).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_falls_behind_reads_from_the_file() {
    let bytes = large(8 * UNIT);
    let (node, digest) = Node::with_cold(&bytes, settings()).await;
    let cold = node.cold(&digest).await;
    let mut slow = cold.read(0..bytes.len() as u64).await.unwrap();
    let mut got = slow.next().await.unwrap().unwrap().to_vec();
    node.until("here again", |node| node.fixture.file(&digest).exists()).await;
    while let Some(piece) = slow.next().await {
        got.extend_from_slice(&piece.unwrap());
    }
    assert!(got == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_of_damaged_content_are_not_recorded_over_those_of_sound_content() {
    let bytes = large(2 * UNIT);
    let mut node = Node::new(GRACE, settings());
    let digest = node.fixture.push_blob(&bytes).await;
    node.start();
    node.until_read_back(&digest).await;
    node.stop().await;
    let registry = &node.fixture.registry;
    let recorded = registry.catalog().unit_roots(&digest).unwrap().unwrap();
    fs::remove_file(node.fixture.file(&recorded.list)).unwrap();
    let file = node.fixture.file(&digest);
    fs::remove_file(&file).unwrap();
    fs::write(&file, &large(2 * UNIT + 1)[1..]).unwrap();
    let stop = CancellationToken::new();
    assert!(!registry.content.keep_unit_roots(&digest, 2 * UNIT, &stop).await.unwrap());
    assert_eq!(registry.catalog().unit_roots(&digest).unwrap().unwrap().list, recorded.list);
    assert!(!file.exists(), "it was put aside");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_fetch_goes_on_where_it_was() {
    let bytes = large(4 * UNIT);
    let (node, digest) = Node::with_cold(&bytes, settings()).await;
    node.faults.at(Call::Get, 0, Fault::BreakAfter(2 * UNIT + 3, unavailable));
    let cold = node.cold(&digest).await;
    assert!(read(&cold, 0..bytes.len() as u64).await.unwrap() == bytes);
    assert_eq!(node.fetched(), 4 * UNIT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_stops_what_only_it_needed() {
    let bytes = large(4 * UNIT);
    let (node, digest) = Node::with_cold(&bytes, settings()).await;
    node.faults.always(Call::Get, Fault::StallAfter(UNIT));
    let cold = node.cold(&digest).await;
    let (leaves, stays) = (cold.read(0..bytes.len() as u64).await.unwrap(), cold.read(0..UNIT + 1).await.unwrap());
    drop(leaves);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(node.fixture.registry.content.tasks.len(), 1, "the other one waits for the second unit");
    drop(stays);
    node.until("no fetch left", |node| node.fixture.registry.content.tasks.is_empty()).await;
    drop(cold);
    let left = fs::read_dir(node.fixture.folder.path().join("uploads")).unwrap().count();
    assert_eq!(left, 0, "nor its file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_down_is_said_at_once_and_a_slow_one_is_waited_for() {
    let bytes = large(2 * UNIT);
    let first_unit = Duration::from_millis(300);
    let (node, digest) = Node::with_cold(&bytes, waiting(first_unit)).await;
    let cold = node.cold(&digest).await;
    node.faults.always(Call::Get, Fault::Fail(unavailable));
    let refused = cold.read(0..10).await;
    // The pauses between attempts are about as long as the wait.
    assert!(matches!(refused, Err(Error::BackendUnavailable) | Ok(_)));
    drop(refused);
    assert!(read(&cold, 0..10).await.is_err());
    node.faults.clear();
    node.faults.at(Call::Get, 0, Fault::Late(4 * first_unit));
    let began = tokio::time::Instant::now();
    let slow = cold.read(0..bytes.len() as u64).await.unwrap();
    assert!(began.elapsed() < 3 * first_unit, "headers go out");
    let got = slow.try_collect::<Vec<_>>().await.unwrap().concat();
    assert!(got == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_and_small_blobs_come_back_whole() {
    let mut node = Node::new(GRACE, settings());
    let config = node.fixture.push_blob(b"config").await;
    let manifest = node.fixture.push_manifest(&config, 6).await;
    node.start();
    for digest in [&config, &manifest] {
        node.until_read_back(digest).await;
    }
    let mut node = node.restart(GRACE).await;
    assert_eq!(node.evict().await, 2);
    let (registry, repository) = (&node.fixture.registry, &node.fixture.repository);
    let reference = Reference::Tag("latest".parse().unwrap());
    assert_eq!(registry.head_manifest(repository, &reference).await.unwrap().digest, manifest);
    let mount = Start::Mount(config.clone(), Some(repository.clone()), MayPull::only(|_| true));
    let mounted = registry.begin_upload(&crate::service::Caller::local(), &"b".parse().unwrap(), mount).await.unwrap();
    assert!(matches!(mounted, crate::service::Started::Mounted(_)));
    node.faults.always(Call::Get, Fault::Fail(unavailable));
    let refused = registry.get_manifest(repository, &reference).await;
    assert!(matches!(refused, Err(Error::BackendUnavailable)), "{refused:?}");
    node.faults.clear();
    let content = registry.get_manifest(repository, &reference).await.unwrap();
    let Blob::Bytes(body) = content.body else { panic!("it is small") };
    assert_eq!(Digest::of(crate::oci::Algorithm::Sha256, &body), manifest);
    let Found::Cold(cold) = registry.open_blob(repository, &config).await.unwrap() else { panic!("it is here") };
    assert_eq!(read(&cold, 0..6).await.unwrap(), b"config");
    node.until("both here again", |node| node.fixture.file(&config).exists() && node.fixture.file(&manifest).exists())
        .await;
    node.start();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rot_is_mended_from_the_backend() {
    let bytes = large(UNIT / 8);
    let mut node = Node::new(GRACE, settings());
    let digest = node.fixture.push_blob(&bytes).await;
    node.start();
    node.until_read_back(&digest).await;
    let file = node.fixture.file(&digest);
    fs::remove_file(&file).unwrap();
    fs::write(&file, &bytes[1..]).unwrap();
    let cold = node.cold(&digest).await;
    assert!(read(&cold, 0..bytes.len() as u64).await.unwrap() == bytes);
    node.until("mended", |_| fs::metadata(&file).is_ok_and(|found| found.len() == bytes.len() as u64)).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_answers_nothing_is_not_waited_for() {
    let bytes = large(2 * UNIT);
    let (node, digest) = Node::with_cold(&bytes, waiting(Duration::from_millis(100))).await;
    let cold = node.cold(&digest).await;
    node.faults.always(Call::Get, Fault::Stall);
    assert!(cold.read(0..9).await.is_ok(), "it answers, so the bytes will come");
    node.faults.always(Call::Identify, Fault::Fail(unavailable));
    assert!(matches!(cold.read(0..9).await, Err(Error::BackendUnavailable)));
    // A reader that comes during the stalled fetch would wait for it.
    node.until("no fetch left", |node| node.fixture.registry.content.tasks.is_empty()).await;
    node.faults.always(Call::Get, Fault::Late(Duration::from_millis(400)));
    node.faults.always(Call::Identify, Fault::Stall);
    assert!(read(&cold, 0..9).await.unwrap() == bytes[..9], "it stalled for a moment only");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_wait_while_too_much_is_not_placed() {
    let mut node = Node::new(GRACE, Settings { staging_limit: 10, ..settings() });
    node.faults.always(Call::Put, Fault::Fail(unavailable));
    node.start();
    let (caller, large) = (crate::service::Caller::local(), Bytes::from_static(b"more than ten"));
    let name = Digest::of(Algorithm::Sha256, &large);
    let body = incoming(&node.fixture.registry, futures_util::stream::iter([Ok::<_, Error>(large)])).await;
    let pushed = node.fixture.registry.upload_at_once(&caller, &node.fixture.repository, name, body).await;
    assert!(matches!(pushed, Err(Error::StagingFull)), "{pushed:?}");
    let digest = node.fixture.push_blob(b"ten bytes!").await;
    let begun = node
        .fixture
        .registry
        .begin_upload(&crate::service::Caller::local(), &node.fixture.repository, Start::Session(None))
        .await;
    assert!(matches!(begun, Err(Error::StagingFull)), "{begun:?}");
    assert!(node.fixture.has(&digest).await);
    node.faults.clear();
    node.until_read_back(&digest).await;
    node.fixture.push_blob(b"and on").await;
    node.stop().await;
}
