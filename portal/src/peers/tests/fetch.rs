//! Skyfiles that only peers have.

use super::*;
use crate::peers::FetchError;
use crate::peers::client::http_client;
use crate::skyfile::OpenError;

/// Lengths without a fanout, of one sector, of several, and with a full last sector.
const LENGTHS: [usize; 6] = [0, 1, 3000, SECTOR, 5 * SECTOR + 17, 7 * SECTOR];

#[tokio::test]
async fn what_a_peer_has_is_read_bit_for_bit_and_kept() {
    let source = Node::new(&[]);
    let server = source.serve().await;
    let node = Node::new(&[&server]);
    for length in LENGTHS {
        let (skylink, content) = source.upload(length).await;
        assert_eq!(node.read(skylink).await.as_ref(), Some(&content), "{length}");
        let asked = server.requests();
        assert_eq!(node.read(skylink).await.as_ref(), Some(&content), "{length}");
        assert_eq!(server.requests(), asked, "{length}: the second time from here");
    }
}

#[tokio::test]
async fn pieces_of_other_profiles_are_fetched_too() {
    let profile = Profile::new(SectorSize::new(SECTOR as u64).unwrap(), 3, 2).unwrap();
    let source = Node::with(Vec::new(), |options| options.profile = profile);
    let server = source.serve().await;
    let node = Node::new(&[&server]);
    let (skylink, content) = source.upload(4 * SECTOR + 5).await;
    assert_eq!(node.read(skylink).await, Some(content));
}

#[tokio::test]
async fn many_readers_cause_one_fetch() {
    let source = Node::new(&[]);
    let server = source.serve().await;
    let node = Node::new(&[&server]);
    let (skylink, content) = source.upload(5 * SECTOR).await;
    let read = futures_util::future::join_all((0..16).map(|_| node.read(skylink))).await;
    assert!(read.iter().all(|read| read.as_ref() == Some(&content)));
    assert_eq!(server.requests(), 6, "the base sector and five");
}

#[tokio::test]
async fn a_fetched_skyfile_is_swept_once_nobody_reads_it() {
    let source = Node::new(&[]);
    let server = source.serve().await;
    let node = Node::new(&[&server]);
    let (skylink, content) = source.upload(3 * SECTOR).await;
    let skyfile = node.portal.open_skyfile(&skylink, false).await.unwrap().unwrap();
    let stream = skyfile.stream(0, skyfile.size());
    assert_eq!(node.sweep().await, 0, "what is open is held");
    drop(skyfile);
    node.sweep().await;
    let pieces: Vec<Bytes> = stream.map(Result::unwrap).collect().await;
    assert_eq!(pieces.concat(), content, "a stream that outlives what it was opened from");
    eventually(async || node.sweep().await > 0).await;
    assert!(node.portal.open_skyfile(&skylink, true).await.unwrap().is_none());
    assert_eq!(node.read(skylink).await, Some(content), "and fetched again");
}

#[tokio::test]
async fn what_is_pinned_here_after_a_fetch_stays() {
    let source = Node::new(&[]);
    let server = source.serve().await;
    let node = Node::new(&[&server]);
    let (skylink, content) = source.upload(3 * SECTOR).await;
    assert!(node.portal.pin(&skylink, false).await.unwrap());
    drop((source, server));
    assert_eq!(node.sweep().await, 0);
    assert_eq!(node.read(skylink).await, Some(content));
    let unknown = Skylink::v1(SectorRoot::from_bytes([7; 32]), 0, 100).unwrap();
    assert!(!node.portal.pin(&unknown, false).await.unwrap());
}

/// A node that has lost a sector of a pinned skyfile, and its peer with all of it.
async fn with_a_lost_sector() -> ([Node; 2], Server, Skylink, Vec<u8>) {
    let source = Node::new(&[]);
    let server = source.serve().await;
    let node = Node::new(&[&server]);
    let (skylink, content) = source.upload(5 * SECTOR).await;
    node.upload(5 * SECTOR).await;
    let skyfile = node.portal.open_skyfile(&skylink, true).await.unwrap().unwrap();
    node.lose(&skyfile.roots().nth(3).unwrap());
    ([node, source], server, skylink, content)
}

#[tokio::test]
async fn a_lost_sector_is_repaired_from_a_peer() {
    let ([node, _source], server, skylink, content) = with_a_lost_sector().await;
    assert_eq!(node.read(skylink).await, Some(content));
    assert_eq!(server.requests(), 1, "the lost one");
}

#[tokio::test]
async fn what_was_lost_of_a_pinned_skyfile_comes_back_without_a_reader_of_it() {
    let ([node, _source], _server, skylink, content) = with_a_lost_sector().await;
    let skyfile = node.portal.open_skyfile(&skylink, false).await.unwrap().unwrap();
    assert_eq!(skyfile.stream(0, 1).next().await.unwrap().unwrap(), content[..1]);
    eventually(async || node.portal.open_skyfile(&skylink, true).await.unwrap().is_some()).await;
}

#[tokio::test]
async fn sectors_come_from_whoever_has_them() {
    let [one, other] = [Node::new(&[]), Node::new(&[])];
    let [server, other_server] = [one.serve().await, other.serve().await];
    let node = Node::new(&[&server, &other_server]);
    let (skylink, content) = one.upload(4 * SECTOR).await;
    other.upload(4 * SECTOR).await;
    let skyfile = one.portal.open_skyfile(&skylink, true).await.unwrap().unwrap();
    let roots: Vec<_> = skyfile.roots().skip(1).collect();
    one.lose(&roots[1]);
    other.lose(&roots[2]);
    assert_eq!(node.read(skylink).await.as_ref(), Some(&content));

    other.lose(&roots[1]);
    let node = Node::new(&[&server, &other_server]);
    let skyfile = node.portal.open_skyfile(&skylink, false).await.unwrap().unwrap();
    let mut stream = skyfile.stream(0, skyfile.size());
    assert_eq!(stream.next().await.unwrap().unwrap(), content[..SECTOR]);
    let OpenError::Fetch(error) = stream.next().await.unwrap().unwrap_err().into() else { panic!("another error") };
    assert!(matches!(*error, FetchError::Incomplete(root) if root == roots[1]), "{error:?}");
    assert!(stream.next().await.is_none());
    assert!(node.portal.pin(&skylink, false).await.is_err());
    one.upload(4 * SECTOR).await;
    assert_eq!(node.read(skylink).await, Some(content), "once it is there again");
}

#[tokio::test]
async fn larger_skyfiles_than_this_portal_takes_are_left_alone() {
    let source = Node::new(&[]);
    let server = source.serve().await;
    let node = Node::with(vec![server.url.clone()], |options| options.max_upload = 100);
    let (skylink, _) = source.upload(101).await;
    let error = node.portal.open_skyfile(&skylink, false).await.unwrap_err();
    assert!(
        matches!(error, OpenError::Fetch(error) if matches!(*error, FetchError::TooLarge { size: 101, limit: 100 }))
    );
}

#[tokio::test]
async fn peers_do_not_ask_each_other_in_circles() {
    let listeners = [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let urls: Vec<String> = listeners.iter().map(|one| format!("http://{}", one.local_addr().unwrap())).collect();
    let [one, other] = [Node::with(vec![urls[1].clone()], |_| ()), Node::with(vec![urls[0].clone()], |_| ())];
    let [listener, other_listener] = listeners;
    let [server, other_server] = [Server::on(listener, one.router()), Server::on(other_listener, other.router())];
    let unknown = Skylink::v1(SectorRoot::from_bytes([7; 32]), 0, 100).unwrap();
    assert_eq!(one.read(unknown).await, None);
    assert_eq!((server.requests(), other_server.requests()), (0, 1));
}

#[tokio::test]
async fn clients_get_what_peers_have_by_every_way_and_peers_do_not() {
    let source = Node::new(&[]);
    let server = source.serve().await;
    let client = http_client(&Timing::default()).unwrap();
    let proven = ["/skynet/trustless/basesector/", "/skynet/trustless/file/v1/"];
    for path in ["/", "/skynet/skylink/", "/skynet/metadata/", "/skynet/basesector/"].into_iter().chain(proven) {
        let (skylink, _) = source.upload(3 * SECTOR).await;
        let here = client.get(format!("{}{path}{skylink}", server.url)).send().await.unwrap();
        let node = Node::new(&[&server]);
        let front = node.serve().await;
        let get = || client.get(format!("{}{path}{skylink}", front.url));
        let asked = server.requests();
        assert_eq!(get().header("skyberth-peer", "1").send().await.unwrap().status(), 404, "{path}");
        assert_eq!(server.requests(), asked, "{path}");
        let answer = get().send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.bytes().await.unwrap(), here.bytes().await.unwrap(), "{path}");
        let pin = client.post(format!("{}/skynet/pin/{skylink}", front.url)).send().await.unwrap();
        assert_eq!(pin.status(), 200);
        assert!(node.portal.stores().unwrap().skyfiles.is_pinned(&skylink).await.unwrap());
    }
}
