//! Peers that lie, send without end, or never answer.

use futures_util::stream;
use http::header::LOCATION;

use super::*;

/// A node whose first peer is the fake, and whose second one is honest and has the skyfile.
async fn beside_an_honest_peer(fake: &Server) {
    let source = Node::new(&[]);
    let server = source.serve().await;
    let node = Node::impatient(&[fake, &server]);
    let (skylink, content) = source.upload(5 * SECTOR + 1).await;
    assert_eq!(node.read(skylink).await, Some(content));
    assert!(fake.requests() > 0, "the fake was asked");
}

/// A node whose only peer is the fake finds nothing, and says so in time.
async fn alone(fake: &Server) {
    let (skylink, _) = Node::new(&[]).upload(5 * SECTOR + 1).await;
    let node = Node::impatient(&[fake]);
    let read = tokio::time::timeout(Duration::from_secs(20), node.read(skylink)).await;
    assert_eq!(read.expect("it ends in time"), None);
    assert_eq!(
        node.portal
            .stores()
            .unwrap()
            .skyfiles
            .sectors()
            .begin_sweep([0; 4])
            .unwrap()
            .remove_unreached()
            .unwrap()
            .sectors,
        0
    );
}

async fn both(fake: Server) {
    beside_an_honest_peer(&fake).await;
    alone(&fake).await;
}

#[tokio::test]
async fn wrong_bytes_are_not_taken() {
    both(Server::fake(async |_| Response::new(Body::from(vec![1; SECTOR]))).await).await;
    both(Server::fake(async |_| Response::new(Body::empty())).await).await;
}

#[tokio::test]
async fn endless_bodies_are_cut() {
    let endless = || Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[7; 1000]))));
    both(Server::fake(move |_| std::future::ready(Response::new(endless()))).await).await;
}

#[tokio::test]
async fn a_body_longer_than_a_sector_is_not_begun() {
    both(Server::fake(async |_| Response::new(Body::from(vec![0; 100 * SECTOR]))).await).await;
}

#[tokio::test]
async fn peers_that_never_answer_are_left() {
    both(Server::fake(async |_| std::future::pending().await).await).await;
}

#[tokio::test]
async fn bodies_that_stall_are_left() {
    let stalling = || {
        let begun = stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"begun")) });
        Body::from_stream(begun.chain(stream::pending()))
    };
    both(Server::fake(move |_| std::future::ready(Response::new(stalling()))).await).await;
}

#[tokio::test]
async fn bodies_that_drip_are_left() {
    let dripping = || {
        Body::from_stream(stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        }))
    };
    both(Server::fake(move |_| std::future::ready(Response::new(dripping()))).await).await;
}

#[tokio::test]
async fn peers_that_fail_or_are_gone_are_left() {
    for code in [204, 400, 403, 429, 451, 500, 503] {
        both(Server::fake(move |_| async move { status(code) }).await).await;
    }
    let gone = Server::fake(async |_| status(200)).await;
    let url = gone.url.clone();
    drop(gone);
    let (skylink, _) = Node::new(&[]).upload(10).await;
    assert_eq!(Node::with(vec![url], |_| ()).read(skylink).await, None);
}

#[tokio::test]
async fn redirects_lead_nowhere() {
    let source = Node::new(&[]);
    let target = source.serve().await;
    let url = target.url.clone();
    let fake = Server::fake(move |request: Request<Body>| {
        let mut response = status(307);
        let location = format!("{url}{}", request.uri().path_and_query().unwrap());
        response.headers_mut().insert(LOCATION, location.parse().unwrap());
        std::future::ready(response)
    })
    .await;
    let (skylink, _) = source.upload(10).await;
    assert_eq!(Node::new(&[&fake]).read(skylink).await, None);
    assert_eq!(target.requests(), 0);
}

#[tokio::test]
async fn a_peer_that_lies_about_one_sector_is_asked_for_no_more() {
    let source = Node::new(&[]);
    let (server, router) = (source.serve().await, source.router());
    // It sends the right base sector, and wrong bytes for every other sector.
    let lies = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lies);
    let liar = Server::fake(move |request: Request<Body>| {
        let (router, counted) = (router.clone(), Arc::clone(&counted));
        async move {
            if request.uri().path() == "/skynet/root" {
                counted.fetch_add(1, Ordering::Relaxed);
                return Response::new(Body::from(vec![9; SECTOR]));
            }
            tower::ServiceExt::oneshot(router, request).await.unwrap()
        }
    })
    .await;
    let node = Node::new(&[&liar, &server]);
    let (skylink, content) = source.upload(20 * SECTOR).await;
    assert_eq!(node.read(skylink).await, Some(content));
    assert!(lies.load(Ordering::Relaxed) <= 3, "those that were under way at once: {lies:?}");
}

#[tokio::test]
async fn a_sector_that_is_no_skyfile_is_an_error_and_not_stored() {
    let source = Node::new(&[]);
    let server = source.serve().await;
    let (skylink, _) = source.upload(3 * SECTOR).await;
    let skyfile = source.portal.open_skyfile(&skylink, true).await.unwrap().unwrap();
    let root = skyfile.roots().nth(1).unwrap();
    let node = Node::new(&[&server]);
    let link = Skylink::v1(root, 0, 1000).unwrap();
    assert!(node.portal.open_skyfile(&link, false).await.is_err());
    assert!(!node.portal.stores().unwrap().skyfiles.sectors().contains(&root).unwrap());
}

#[test]
fn what_is_no_peer() {
    let open = |url: &str| {
        let directory = directory();
        let options = PortalOptions { peers: vec![url.to_owned()], ..crate::options::for_tests() };
        Portal::open(directory.path(), options).is_ok()
    };
    for url in ["http://portal.example", "http://portal.example:9980/", "http://[::1]:9980/below"] {
        assert!(open(url), "{url}");
    }
    for url in ["", "portal.example", "ftp://portal.example", "http://", "http://a/?b", "http://a/#b", "/x"] {
        assert!(!open(url), "{url}");
    }
}
