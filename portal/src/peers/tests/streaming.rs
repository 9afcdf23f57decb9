//! Content that is sent while it arrives from peers. A script makes the peers misbehave at chosen sectors.

use std::sync::Mutex;

use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use crate::peers::client::http_client;

/// The reaction of a peer to a request for a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Gives,
    Lies,
    Fails,
    /// Breaks the connection in the middle of the answer.
    Breaks,
    /// Sends nothing until it is released.
    Stalls,
}

/// A peer with the content of `source`.
struct Scripted {
    server: Server,
    state: Arc<State>,
}

struct State {
    router: Router,
    roots: Vec<SectorRoot>,
    script: fn(usize) -> Act,
    asked: Mutex<Vec<usize>>,
    stalling: AtomicUsize,
    released: watch::Sender<bool>,
}

/// A request that stalls. It is counted until it ends or its client leaves.
struct Stalling<'a>(&'a AtomicUsize);

impl Drop for Stalling<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Scripted {
    /// `script` gets the index of a sector in the content.
    async fn new(source: &Node, skylink: Skylink, script: fn(usize) -> Act) -> Self {
        let skyfile = source.portal.open_skyfile(&skylink, true).await.unwrap().unwrap();
        let (roots, router) = (skyfile.roots().skip(1).collect(), source.router());
        let (asked, stalling, released) = (Mutex::default(), AtomicUsize::new(0), watch::Sender::new(false));
        let state = Arc::new(State { router, roots, script, asked, stalling, released });
        let shared = Arc::clone(&state);
        let server = Server::fake(move |request| {
            let state = Arc::clone(&shared);
            async move { state.answer(request).await }
        });
        Scripted { server: server.await, state }
    }

    fn release(&self) {
        self.state.released.send_replace(true);
    }

    fn stalling(&self) -> usize {
        self.state.stalling.load(Ordering::SeqCst)
    }

    /// The indexes of the requested sectors, sorted.
    fn asked(&self) -> Vec<usize> {
        let mut asked = self.state.asked.lock().unwrap().clone();
        asked.sort_unstable();
        asked
    }
}

impl State {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default();
        let root = query.split('&').find_map(|pair| pair.strip_prefix("root=")?.parse::<SectorRoot>().ok());
        let Some(place) = root.and_then(|root| self.roots.iter().position(|one| *one == root)) else {
            return self.router.clone().oneshot(request).await.unwrap();
        };
        self.asked.lock().unwrap().push(place);
        match (self.script)(place) {
            Act::Gives => {}
            Act::Lies => return Response::new(Body::from(vec![9; SECTOR])),
            Act::Fails => return status(500),
            Act::Breaks => {
                let half = Ok(Bytes::from(vec![1; SECTOR / 2]));
                let broken = Err(std::io::Error::other("as the script says"));
                return Response::new(Body::from_stream(futures_util::stream::iter([half, broken])));
            }
            Act::Stalls => {
                self.stalling.fetch_add(1, Ordering::SeqCst);
                let _stalling = Stalling(&self.stalling);
                self.released.subscribe().wait_for(|released| *released).await.unwrap();
            }
        }
        self.router.clone().oneshot(request).await.unwrap()
    }
}

/// Sends a GET to a node, as a client does.
async fn get(front: &Server, path: &str, range: Option<&str>) -> reqwest::Response {
    let request = http_client(&patient()).unwrap().get(format!("{}{path}", front.url));
    match range {
        Some(range) => request.header("range", range),
        None => request,
    }
    .send()
    .await
    .unwrap()
}

/// Reads at least `length` bytes of an answer, or all before it ends or breaks off.
async fn take(response: &mut reqwest::Response, length: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    while taken.len() < length
        && let Ok(Some(bytes)) = response.chunk().await
    {
        taken.extend_from_slice(&bytes);
    }
    taken
}

#[tokio::test]
async fn first_bytes_leave_before_the_last_have_come() {
    let source = Node::new(&[]);
    let (skylink, content) = source.upload(8 * SECTOR + 5).await;
    let peer = Scripted::new(&source, skylink, |place| if place == 3 { Act::Stalls } else { Act::Gives }).await;
    let node = Node::new(&[&peer.server]);
    let front = node.serve().await;
    let mut readers = Vec::new();
    for path in ["/", "/skynet/skylink/"] {
        let mut answer = get(&front, &format!("{path}{skylink}"), None).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.content_length(), Some(content.len() as u64));
        let taken = take(&mut answer, 3 * SECTOR).await;
        assert_eq!(taken, content[..3 * SECTOR]);
        readers.push((answer, taken));
    }
    assert!(peer.asked().iter().all(|place| *place <= 5), "not far ahead: {:?}", peer.asked());
    peer.release();
    for (mut answer, mut taken) in readers {
        taken.extend(take(&mut answer, usize::MAX).await);
        assert_eq!(taken, content);
    }
    assert_eq!(peer.asked(), (0..9).collect::<Vec<_>>(), "each once for both");
}

#[tokio::test]
async fn what_the_base_sector_says_is_answered_without_the_others() {
    let source = Node::new(&[]);
    let (skylink, content) = source.upload(4 * SECTOR).await;
    let peer = Scripted::new(&source, skylink, |_| Act::Stalls).await;
    let node = Node::new(&[&peer.server]);
    let front = node.serve().await;
    let head = http_client(&patient()).unwrap().head(format!("{}/{skylink}", front.url)).send().await.unwrap();
    assert_eq!((head.status(), head.headers()["content-length"].to_str().unwrap()), (StatusCode::OK, "16384"));
    for path in ["/skynet/metadata/", "/skynet/basesector/", "/skynet/trustless/basesector/"] {
        let answer = get(&front, &format!("{path}{skylink}"), None).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert!(!answer.bytes().await.unwrap().is_empty(), "{path}");
    }
    assert!(peer.asked().is_empty());
    // Another portal gets 404 for content that is not local.
    let answer = http_client(&patient()).unwrap().get(format!("{}/{skylink}", front.url));
    assert_eq!(answer.header("skyberth-peer", "1").send().await.unwrap().status(), 404);
    peer.release();
    assert_eq!(node.read(skylink).await, Some(content));
}

/// A node with these peers. It is impatient only if one of them stalls.
fn beside(act: Act, peers: &[&Server]) -> Node {
    if act == Act::Stalls { Node::impatient(peers) } else { Node::new(peers) }
}

#[tokio::test]
async fn a_peer_that_goes_wrong_in_the_middle_is_replaced_from_there_on() {
    let scripts: [fn(usize) -> Act; 4] = [
        |place| if place < 2 { Act::Gives } else { Act::Lies },
        |place| if place < 2 { Act::Gives } else { Act::Fails },
        |place| if place < 2 { Act::Gives } else { Act::Breaks },
        |place| if place < 2 { Act::Gives } else { Act::Stalls },
    ];
    for script in scripts {
        let source = Node::new(&[]);
        let (skylink, content) = source.upload(12 * SECTOR).await;
        let bad = Scripted::new(&source, skylink, script).await;
        let good = Scripted::new(&source, skylink, |_| Act::Gives).await;
        let node = beside(script(2), &[&bad.server, &good.server]);
        assert_eq!(node.read(skylink).await, Some(content));
        assert!((2..12).all(|place| good.asked().contains(&place)), "{:?}", good.asked());
        // On a busy machine the good peer may be slow, too, and then both are asked.
        let asked = bad.asked();
        assert!(asked.len() <= 6 || script(2) == Act::Stalls, "{asked:?} from one that {:?}", script(2));
    }
}

#[tokio::test]
async fn what_nobody_gives_rightly_ends_in_a_broken_connection() {
    let scripts: [fn(usize) -> Act; 4] = [
        |place| if place == 3 { Act::Lies } else { Act::Gives },
        |place| if place == 3 { Act::Fails } else { Act::Gives },
        |place| if place == 3 { Act::Breaks } else { Act::Gives },
        |place| if place == 3 { Act::Stalls } else { Act::Gives },
    ];
    for script in scripts {
        let source = Node::new(&[]);
        let (skylink, content) = source.upload(6 * SECTOR).await;
        let peer = Scripted::new(&source, skylink, script).await;
        let node = beside(script(3), &[&peer.server]);
        let front = node.serve().await;
        let mut answer = get(&front, &format!("/{skylink}"), None).await;
        let taken = take(&mut answer, usize::MAX).await;
        // Bytes that were not sent before the break are lost.
        assert!(taken.len() <= 3 * SECTOR && content.starts_with(&taken), "{:?}: {}", script(3), taken.len());
        // An archive has no length, so only the broken connection tells the client.
        let archive = get(&front, &format!("/{skylink}?format=tar"), None).await;
        assert_eq!(archive.content_length(), None);
        assert!(archive.bytes().await.is_err(), "{:?}", script(3));
    }
}

#[tokio::test]
async fn a_range_fetches_the_sectors_that_hold_it() {
    let source = Node::new(&[]);
    let (skylink, content) = source.upload(20 * SECTOR).await;
    for (first, last, sectors) in [
        (19 * SECTOR + 9, 20 * SECTOR - 1, 19..20),
        (0, 0, 0..1),
        (7 * SECTOR, 8 * SECTOR - 1, 7..8),
        (4 * SECTOR - 1, 6 * SECTOR, 3..7),
    ] {
        let peer = Scripted::new(&source, skylink, |_| Act::Gives).await;
        let node = Node::new(&[&peer.server]);
        let front = node.serve().await;
        let answer = get(&front, &format!("/{skylink}"), Some(&format!("bytes={first}-{last}"))).await;
        assert_eq!(answer.status(), 206);
        assert_eq!(answer.bytes().await.unwrap(), content[first..=last]);
        assert_eq!(peer.asked(), sectors.clone().collect::<Vec<_>>());
        let part = format!("/skynet/trustless/file/v1/{skylink}?offset={first}&length={}", last - first + 1);
        assert!(get(&front, &part, None).await.bytes().await.unwrap().len() > last - first);
        assert_eq!(peer.asked(), sectors.collect::<Vec<_>>(), "what has come is here");
    }
}

#[tokio::test]
async fn a_range_of_several_pieces_fetches_their_chunk() {
    let profile = Profile::new(SectorSize::new(SECTOR as u64).unwrap(), 3, 2).unwrap();
    let source = Node::with(Vec::new(), |options| options.profile = profile);
    let (skylink, content) = source.upload(9 * SECTOR + 1).await;
    let one = Scripted::new(&source, skylink, |place| if place == 4 { Act::Fails } else { Act::Gives }).await;
    let other = Scripted::new(&source, skylink, |place| if place == 3 { Act::Fails } else { Act::Gives }).await;
    let node = Node::new(&[&one.server, &other.server]);
    let skyfile = node.portal.open_skyfile(&skylink, false).await.unwrap().unwrap();
    let part: Vec<Bytes> = skyfile.stream(3 * SECTOR as u64 + 5, 100).map(Result::unwrap).collect().await;
    assert_eq!(part.concat(), content[3 * SECTOR + 5..][..100]);
    let mut asked = [one.asked(), other.asked()].concat();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, [3, 4, 5]);
    assert_eq!(read_all(&skyfile).await, content);
}

#[tokio::test]
async fn a_reader_that_leaves_stops_what_nobody_else_waits_for() {
    let source = Node::new(&[]);
    let (skylink, content) = source.upload(9 * SECTOR).await;
    let peer = Scripted::new(&source, skylink, |place| if place < 2 { Act::Gives } else { Act::Stalls }).await;
    let node = Node::new(&[&peer.server]);
    let front = node.serve().await;
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut answer = get(&front, &format!("/{skylink}"), None).await;
        assert_eq!(take(&mut answer, 2 * SECTOR).await, content[..2 * SECTOR]);
        readers.push(answer);
    }
    eventually(async || peer.stalling() == 2).await;
    readers.pop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(peer.stalling(), 2, "the other one waits");
    readers.pop();
    eventually(async || peer.stalling() == 0).await;
    assert_eq!(peer.asked(), [0, 1, 2, 3]);
    eventually(async || node.sweep().await > 0).await;
    peer.release();
    assert_eq!(node.read(skylink).await, Some(content));
}

#[tokio::test]
async fn what_is_to_be_pinned_comes_without_anybody_who_waits() {
    let source = Node::new(&[]);
    let (skylink, content) = source.upload(9 * SECTOR).await;
    let peer = Scripted::new(&source, skylink, |place| if place < 2 { Act::Gives } else { Act::Stalls }).await;
    let node = Node::new(&[&peer.server]);
    let pin = tokio::time::timeout(Duration::from_secs(1), node.portal.pin(&skylink, false));
    assert!(pin.await.is_err(), "it waits for the sectors");
    peer.release();
    eventually(async || node.portal.open_skyfile(&skylink, true).await.unwrap().is_some()).await;
    assert!(!node.portal.stores().unwrap().skyfiles.is_pinned(&skylink).await.unwrap());
    assert!(node.portal.pin(&skylink, false).await.unwrap());
    assert_eq!(peer.asked().len(), 9);
    assert_eq!(node.read(skylink).await, Some(content));
}

#[tokio::test]
async fn few_sectors_come_at_once_however_many_read() {
    let source = Node::new(&[]);
    let (skylink, content) = source.upload(30 * SECTOR).await;
    let peer = Scripted::new(&source, skylink, |_| Act::Stalls).await;
    let node = Node::new(&[&peer.server]);
    let read = |place: usize| {
        let node = &node;
        async move {
            let skyfile = node.portal.open_skyfile(&skylink, false).await.unwrap().unwrap();
            skyfile.stream((place * SECTOR) as u64, 1).next().await.unwrap().unwrap()
        }
    };
    let watch = async {
        eventually(async || peer.stalling() == 8).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(peer.stalling(), 8, "as many as are in memory at once");
        peer.release();
    };
    let (read, ()) = tokio::join!(futures_util::future::join_all((0..30).map(read)), watch);
    assert!(read.iter().zip(content.chunks(SECTOR)).all(|(read, sector)| read[..] == sector[..1]));
}
