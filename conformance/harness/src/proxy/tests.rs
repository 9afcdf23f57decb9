//! A proxy in front of a portal with fixed answers.

use std::io::{Read as _, Write as _};
use std::time::Instant;

use super::*;
use crate::client::{Connection, Request, Target};

/// Answers every connection with the same bytes.
fn echo(answer: &'static [u8]) -> Target {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let target = Target::local(listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = pass::read_head(&mut stream);
            let _ = stream.write_all(answer);
        }
    });
    target
}

fn proxy() -> (Proxy, Target) {
    let proxy = Proxy::before(&echo(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")).unwrap();
    let target = Target::parse(&proxy.url()).unwrap();
    (proxy, target)
}

#[test]
fn each_manner_shows() {
    let (proxy, target) = proxy();
    let get = || target.send(&Request::get("/x").header("Range", "bytes=0-3"));
    assert_eq!(get().unwrap().body, b"body");
    assert!(proxy.sent() > 40);
    let seen = proxy.exchanges();
    assert_eq!((seen[0].path.as_str(), seen[0].range.as_deref()), ("/x", Some("bytes=0-3")));
    assert_eq!((seen[0].status, seen[0].sent), (Some(200), proxy.sent()));
    proxy.set(Fault::Lying);
    assert_eq!(get().unwrap().body, b"boey");
    assert_eq!(target.send(&Request::get("/skynet/stats")).unwrap().body, b"body", "it lies about content only");
    proxy.set(Fault::Gone);
    assert!(get().is_err());
    proxy.set(Fault::says("HTTP/1.1 451 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    let mark = proxy.mark();
    assert_eq!(get().unwrap().status, 451);
    assert_eq!(proxy.since(mark)[0].status, Some(451));
}

/// Answers each request with its path, and the number of requests for it.
fn parrot() -> Target {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let target = Target::local(listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let (head, _) = pass::read_head(&mut stream).unwrap();
            let body = format!("{} {number}", Exchange::of(&head).path);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    target
}

#[test]
fn a_portal_that_replays_gives_other_content_and_old_entries() {
    let proxy = Proxy::before(&parrot()).unwrap();
    let target = Target::parse(&proxy.url()).unwrap();
    let get = |path: &str| target.send(&Request::get(path)).unwrap().text();
    let (one, two) = (format!("/{}", "A".repeat(46)), format!("/{}", "B".repeat(46)));
    let entry = "/skynet/registry?publickey=a&datakey=b";
    let said = [get(&one), get(&two), get(entry)];
    assert_eq!(said, [format!("{one} 0"), format!("{two} 1"), format!("{entry} 2")]);
    let (mark, old) = (proxy.mark(), Old::of(&proxy.exchanges()));
    proxy.set(Fault::Replaying(Arc::new(old)));
    assert_eq!(get(&one), format!("{two} 3"));
    assert_eq!(get(entry), said[2], "the portal is not asked");
    assert_eq!(get("/skynet/stats"), "/skynet/stats 4");
    assert_eq!([Replayed::SameLength, Replayed::Entry].map(|kind| proxy.replayed(mark, kind)), [1, 1]);
    assert_eq!(proxy.replayed(mark, Replayed::OtherLength), 0);
    assert_eq!(Old::of(&proxy.since(mark)), Old::default(), "what is replayed is nothing new");
}

#[test]
fn a_slow_portal_takes_its_time_and_a_trickling_one_its_rate() {
    let (proxy, target) = proxy();
    proxy.set(Fault::Slow(Duration::from_millis(300)));
    let started = Instant::now();
    target.send(&Request::get("/x")).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300));
    proxy.set(Fault::Trickle(10));
    let started = Instant::now();
    target.send(&Request::get("/x")).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(400), "four bytes at ten a second");
}

#[test]
fn what_is_held_back_goes_on_when_it_is_let_go() {
    let (proxy, target) = proxy();
    proxy.set(Fault::Holding("/unpin"));
    let mut held = Connection::open(&target).unwrap();
    held.write(&Request::new("POST", "/skynet/unpin/x")).unwrap();
    held.stream().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(held.stream().read(&mut [0; 1]).is_err(), "it is not answered");
    assert_eq!(target.send(&Request::get("/x")).unwrap().status, 200, "others are");
    proxy.set(Fault::None);
    held.stream().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(held.read(false).unwrap().status, 200);
}

#[test]
fn a_portal_that_goes_away_breaks_what_is_under_way() {
    let (proxy, target) = proxy();
    proxy.set(Fault::Stalled);
    let mut waiting = Connection::open(&target).unwrap();
    waiting.write(&Request::get("/x")).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    proxy.set(Fault::Gone);
    assert!(waiting.read(false).is_err());
    assert!(crate::gate::wait_until(Duration::from_secs(10), || proxy.exchanges()[0].over));
    assert_eq!(proxy.refused(), 0, "it was under way already");
    assert!(target.send(&Request::get("/x")).is_err());
    assert_eq!(proxy.refused(), 1);
}

#[test]
fn bytes_of_uploads_are_counted() {
    let (proxy, target) = proxy();
    target.send(&Request::new("POST", "/skynet/skyfile").body(vec![1; 1000])).unwrap();
    // They pass beside the answer, which this portal sends before it has read them.
    assert!(crate::gate::wait_until(Duration::from_secs(10), || proxy.exchanges()[0].received == 1000));
    assert!(proxy.exchanges()[0].is_upload() && proxy.exchanges()[0].is_success());
    proxy.wait_received(1000, || Ok(true)).unwrap();
    assert!(proxy.wait_received(1001, || Ok(false)).is_err(), "the client has ended");
}

#[test]
fn a_client_that_tries_tls_first_is_refused_at_once() {
    let (_proxy, target) = proxy();
    let connection = Connection::open(&target).unwrap();
    connection.stream().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    connection.stream().write_all(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]).unwrap();
    let started = Instant::now();
    assert!(matches!(connection.stream().read(&mut [0; 1]), Ok(0) | Err(_)));
    assert!(started.elapsed() < Duration::from_secs(9), "it waits for the end of a head");
}
