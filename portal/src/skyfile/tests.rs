//! Skyfiles in the store: skylinks of real portals, content read back, hostile base sectors.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serving::UsedUp;
use sha2::{Digest as _, Sha256};
use skynet_formats::base_sector::BaseSector;

use super::*;
use crate::options::for_tests;

struct Store {
    skyfiles: Skyfiles,
    directory: tempfile::TempDir,
}

fn store(profile: &str) -> Store {
    let directory = tempfile::tempdir().unwrap();
    let options = PortalOptions { profile: profile.parse().unwrap(), ..for_tests() };
    Store { skyfiles: open(directory.path(), &options), directory }
}

fn open(directory: &std::path::Path, options: &PortalOptions) -> Skyfiles {
    let sectors = SectorStore::open(directory, options.profile.sector_size(), options.disk_reserve).unwrap();
    Skyfiles::new(
        sectors,
        Pins::open(directory, options.disk_reserve).unwrap(),
        Blocklist::open(directory).unwrap(),
        options,
    )
}

/// The content of the recorded vectors: SHA-256 of the decimal length, repeated.
fn content(length: usize) -> Vec<u8> {
    Sha256::digest(length.to_string().as_bytes()).iter().copied().cycle().take(length).collect()
}

async fn write(mut writer: SkyfileWriter, metadata: &str, content: &[u8], step: usize) -> Skylink {
    for piece in content.chunks(step) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.finish(metadata.as_bytes().to_vec()).await.unwrap()
}

async fn read(skyfile: &Skyfile, first: u64, length: u64) -> std::io::Result<Vec<u8>> {
    skyfile.stream(first, length).try_fold(Vec::new(), async |all, bytes| Ok([all, bytes.to_vec()].concat())).await
}

/// Stores content, and compares its skylink with that of a dry run, and its bytes with those read back.
async fn check(store: &Store, metadata: &str, content: &[u8], expected: &str) {
    let dry = write(store.skyfiles.dry_writer().unwrap(), metadata, content, 100_000).await;
    assert_eq!(dry.to_string(), expected, "{metadata}");
    assert!(store.skyfiles.open(&dry).await.unwrap().is_none(), "a dry run stores nothing");
    let skylink = write(store.skyfiles.writer().unwrap(), metadata, content, 70_001).await;
    assert_eq!(skylink, dry);
    let skyfile = store.skyfiles.open(&skylink).await.unwrap().unwrap();
    assert_eq!(skyfile.raw_metadata(), metadata.as_bytes());
    assert_eq!(skyfile.size(), content.len() as u64);
    assert!(read(&skyfile, 0, skyfile.size()).await.unwrap() == content);
}

#[tokio::test]
async fn skylinks_are_those_of_real_portals() {
    let store = store("4MiB/1+4");
    let dk = |name: &str, length| {
        format!(
            r#"{{"filename":"{name}","length":{length},"subfiles":{{"{name}":{{"filename":"{name}","contenttype":"application/json","len":{length}}}}}}}"#
        )
    };
    let with_tryfiles = |length| {
        format!(
            r#"{{"filename":"testdatakey","length":{length},"subfiles":{{"testdatakey":{{"filename":"testdatakey","len":{length}}}}},"tryfiles":["index.html"]}}"#
        )
    };
    for (metadata, content, skylink) in [
        (
            dk("dk:646174614b657931", 39),
            r#"{"_data":{"message":"hi there"},"_v":2}"#,
            "AACDPHoC2DCV_kLGUdpdRJr3CcxCmKadLGPi6OAMl7d48w",
        ),
        (
            dk("dk:646174614b657933", 40),
            r#"{"_data":{"message":"hi there!"},"_v":2}"#,
            "AAAVyJktMuK-7WRCNUvYcYq7izvhCbgDLXlT4YgechblJw",
        ),
        (
            with_tryfiles(62),
            r#"{"_data":{"example":"This is some example JSON data."},"_v":2}"#,
            "AAA_uTgxYiKcqpGMLNe2V52fLc3FivZBZStLVqMSeHnGtQ",
        ),
        (
            with_tryfiles(75),
            r#"{"_data":{"example":"This is some example JSON data for SkyDB V2."},"_v":2}"#,
            "AAB1QJWQV0y2ynDXnJvOt0uh-THq-pJj2_layW5fjPXhTQ",
        ),
    ] {
        check(&store, &metadata, content.as_bytes(), skylink).await;
    }
}

/// Recorded from real skyd with 4 MiB sectors and 1+4 pieces.
#[tokio::test]
async fn canonical_skylinks_are_those_of_real_skyd() {
    let store = store("4MiB/1+4");
    for (length, skylink) in [
        (0, "AAD2E1BSqhb-sofNgWEyFoZ8tOZ6S-v2Knd62b5RsqpfOg"),
        (1024, "AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA"),
        (102_400, "jABRRYVY0o26TnXq_u5R4azOMUWRLV3sK3OdYWg4qaCTRA"),
        (5_242_880, "AABIcFVAsC5P3wDC1GDsVHjIlP-dCfj3BbTTwrzMoLMdQg"),
        (10_485_760, "AADMe5DLWKS-jDVrU_g6s1NvB6QGFBcT7V_3tlU_ykQpVA"),
    ] {
        let content = content(length);
        let name = data_encoding::HEXLOWER.encode(&Sha256::digest(&content));
        check(&store, &format!(r#"{{"filename":"sha256-{name}","length":{length}}}"#), &content, skylink).await;
    }
}

/// Content has no fanout if it fits into the base sector beside its metadata.
#[tokio::test]
async fn content_gets_a_fanout_when_its_metadata_leave_no_room() {
    let store = store("4KiB/1+4");
    let metadata = |length: usize| format!(r#"{{"filename":"a","length":{length}}}"#);
    let most = 4096 - 99 - metadata(1000).len();
    for (length, fanout) in [(most, 0), (most + 1, 32), (4096 - 99, 32), (4097, 64)] {
        let content = vec![7; length];
        let skylink = write(store.skyfiles.writer().unwrap(), &metadata(length), &content, 999).await;
        let skyfile = store.skyfiles.open(&skylink).await.unwrap().unwrap();
        assert_eq!(skyfile.layout().fanout_size, fanout, "{length}");
        assert_eq!(read(&skyfile, 0, length as u64).await.unwrap(), content);
    }
}

#[tokio::test]
async fn a_fanout_that_no_base_sector_holds_is_refused_when_it_gets_too_long() {
    let store = store("4KiB/10+20");
    let mut writer = store.skyfiles.writer().unwrap();
    let mut taken = 0;
    let error = loop {
        match writer.write(Bytes::from(vec![1; 600_000])).await {
            Ok(()) => taken += 600_000,
            Err(error) => break error,
        }
        assert!(taken < 10_000_000, "it goes on for ever");
    };
    assert!(matches!(error, WriteError::Assemble(_)), "{error:?}");
    assert!(matches!(writer.finish(b"{}".to_vec()).await, Err(WriteError::Failed)));
}

#[tokio::test]
async fn limits_refuse_what_is_beyond_them() {
    let directory = tempfile::tempdir().unwrap();
    let options = PortalOptions { max_upload: 10, max_metadata: 30, max_uploads: 1, ..for_tests() };
    let skyfiles = open(directory.path(), &options);
    let mut writer = skyfiles.writer().unwrap();
    assert!(matches!(skyfiles.writer(), Err(WriteError::UsedUp(_))));
    writer.write(Bytes::from_static(&[0; 10])).await.unwrap();
    assert!(matches!(writer.write(Bytes::from_static(b"x")).await, Err(WriteError::TooLarge { limit: 10 })));
    drop(writer);
    let writer = skyfiles.writer().unwrap();
    assert!(matches!(writer.finish(vec![b' '; 31]).await, Err(WriteError::MetadataTooLarge { limit: 30 })));
    let full = PortalOptions { disk_reserve: u64::MAX, ..for_tests() };
    let other = tempfile::tempdir().unwrap();
    assert!(matches!(open(other.path(), &full).writer(), Err(WriteError::DiskFull)));
}

/// Slow uploads of one client held all permits.
#[tokio::test]
async fn uploads_of_one_client_leave_half_of_the_permits_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let skyfiles = open(directory.path(), &PortalOptions { max_uploads: 4, ..for_tests() });
    let client = |last: u8| Holder::at([192, 0, 2, last].into());
    let own = [skyfiles.admit(client(1)).await.unwrap(), skyfiles.admit(client(1)).await.unwrap()];
    assert!(matches!(skyfiles.admit(client(1)).await, Err(WriteError::UsedUp(UsedUp::Share(_)))));
    let upload = skyfiles.upload(skyfiles.admit(client(2)).await.unwrap(), false);
    assert!(upload.is_ok());
    drop(own);
}

#[tokio::test]
async fn a_missing_sector_cuts_the_stream() {
    let store = store("4KiB/1+4");
    let content: Vec<u8> = (0..10_000_u32).map(|n| (n % 251) as u8).collect();
    let skylink = write(store.skyfiles.writer().unwrap(), r#"{"filename":"a","length":10000}"#, &content, 10_000).await;
    let skyfile = store.skyfiles.open(&skylink).await.unwrap().unwrap();
    let root = skyfile.roots().nth(2).unwrap();
    std::fs::remove_file(sector_file(&store, &root)).unwrap();
    let mut stream = skyfile.stream(0, 10_000);
    assert_eq!(stream.next().await.unwrap().unwrap(), &content[..4096]);
    assert!(stream.next().await.unwrap().is_err());
    assert!(stream.next().await.is_none());
    assert!(read(&skyfile, 9000, 1001).await.is_err(), "beyond the end");
}

fn sector_file(store: &Store, root: &skynet_formats::sector::SectorRoot) -> std::path::PathBuf {
    let name = root.to_string();
    store.directory.path().join("sectors").join(&name[..2]).join(name)
}

/// Writes a sector directly into the store, such as a hostile base sector.
fn plant(store: &Store, sector: &[u8]) -> skynet_formats::sector::SectorRoot {
    let root = skynet_formats::sector::sector_root(store.skyfiles.sectors.sector_size(), sector);
    let end = sector.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    std::fs::write(sector_file(store, &root), &sector[..end]).unwrap();
    root
}

#[tokio::test]
async fn a_base_sector_inside_a_sector_is_found_by_its_offset() {
    let store = store("4MiB/1+4");
    let base = BaseSector::small(store.skyfiles.profile.sector_size(), br#"{"filename":"b","length":3}"#, b"abc");
    let sector = [vec![9; 8192], base.unwrap().into_bytes()].concat();
    let root = plant(&store, &sector);
    let skylink = Skylink::v1(root, 8192, 200).unwrap();
    let skyfile = store.skyfiles.open(&skylink).await.unwrap().unwrap();
    assert_eq!(read(&skyfile, 1, 2).await.unwrap(), b"bc");
    let beside = Skylink::v1(root, 4096, 200).unwrap();
    assert!(matches!(store.skyfiles.open(&beside).await, Err(OpenError::Layout(_))));
}

#[tokio::test]
async fn a_base_sector_reaches_no_further_than_its_skylink() {
    let store = store("4MiB/1+4");
    let content = vec![5; 6000];
    let base = BaseSector::small(store.skyfiles.profile.sector_size(), br#"{"filename":"b","length":6000}"#, &content);
    let root = plant(&store, base.unwrap().bytes());
    for (fetch, fits) in [(4096, false), (8192, true)] {
        let opened = store.skyfiles.open(&Skylink::v1(root, 0, fetch).unwrap()).await;
        assert_eq!(opened.is_ok(), fits, "{fetch}");
    }
}

fn layouts() -> impl Strategy<Value = (u64, u64, u64, u8, u8)> {
    let size = prop_oneof![0..200_u64, Just(4096), Just(u64::MAX), Just(u64::MAX - 99), any::<u64>()];
    (size.clone(), size, prop_oneof![Just(0), Just(32), Just(960), any::<u64>()], any::<u8>(), any::<u8>())
}

/// A store of each profile for all cases, because stores are slow to make.
fn stores<const N: usize>(profiles: [&str; N]) -> [Store; N] {
    profiles.map(store)
}

fn cases(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig { cases, ..ProptestConfig::default() })
}

#[test]
fn no_base_sector_harms() {
    use skynet_formats::layout::Layout;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = store("4KiB/1+4");
    let strategy = (layouts(), prop::collection::vec(any::<u8>(), 0..200));
    let result = cases(256).run(&strategy, |((file, metadata, fanout, data, parity), tail)| {
        let layout = Layout {
            fanout_size: fanout,
            data_pieces: data,
            parity_pieces: parity,
            ..Layout::without_fanout(file, metadata)
        };
        let root = plant(&store, &[&layout.encode()[..], &tail].concat());
        let opened = runtime.block_on(store.skyfiles.open(&Skylink::v1(root, 0, 4096).unwrap()));
        if let Ok(Some(skyfile)) = opened {
            // The read ends, whatever size the layout claims.
            let _ = runtime.block_on(read(&skyfile, 0, skyfile.size().min(10_000)));
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn any_range_of_any_layout_reads_back() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stores = stores(["4KiB/1+4", "4KiB/2+3", "4KiB/10+20", "8KiB/3+1"]);
    let strategy = (0_usize..60_000, (0.0..1.0_f64, 0.0..1.0_f64), 1_usize..20_000, 0..stores.len());
    let result = cases(64).run(&strategy, |(length, cut, step, profile)| {
        // The content has zeros at the end of each sector, which are not stored.
        let content: Vec<u8> = (0..length).map(|n| if n % 4096 > 2000 { 0 } else { (n % 251) as u8 }).collect();
        let metadata = format!(r#"{{"filename":"a","length":{length}}}"#);
        let store = &stores[profile];
        let first = (cut.0 * length as f64) as u64;
        let count = (cut.1 * (length as u64 - first) as f64) as u64;
        runtime.block_on(async {
            let skylink = write(store.skyfiles.writer().unwrap(), &metadata, &content, step).await;
            let skyfile = store.skyfiles.open(&skylink).await.unwrap().unwrap();
            let expected = &content[first as usize..(first + count) as usize];
            prop_assert!(read(&skyfile, first, count).await.unwrap() == expected);
            Ok(())
        })?;
        let incoming = store.directory.path().join("incoming");
        prop_assert_eq!(std::fs::read_dir(incoming).unwrap().count(), 0);
        Ok(())
    });
    result.unwrap();
}

/// Streams to slow clients kept the parsed metadata in memory, up to 33 MiB each.
#[tokio::test]
async fn readers_share_the_metadata_and_open_answers_do_not_hold_it() {
    let store = store("4MiB/1+4");
    let mut writer = store.skyfiles.writer().unwrap();
    writer.write(Bytes::from_static(b"abc")).await.unwrap();
    let link = writer.finish(br#"{"filename":"a","length":3}"#.to_vec()).await.unwrap();
    let (one, other) =
        (store.skyfiles.open(&link).await.unwrap().unwrap(), store.skyfiles.open(&link).await.unwrap().unwrap());
    assert!(std::ptr::eq(one.metadata(), other.metadata()));
    let owners = one.metadata_owners();
    let (content, stream) = (other.content().clone(), other.stream(0, 3));
    assert_eq!(one.metadata_owners(), owners);
    drop(other);
    assert_eq!(one.metadata_owners(), owners - 1);
    drop((content, stream));
}

/// Clients that left while their bytes were hashed let the next ones in, each with as much memory.
#[tokio::test]
async fn the_permit_of_an_upload_stays_until_its_thread_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let skyfiles = open(directory.path(), &PortalOptions { max_uploads: 1, ..for_tests() });
    let mut writer = skyfiles.writer().unwrap();
    // Takes much longer than the next lines.
    writer.write(Bytes::from(vec![7; 32 << 20])).await.unwrap();
    drop(writer);
    assert!(skyfiles.writer().is_err());
    while skyfiles.writer().is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
