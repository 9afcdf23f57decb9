//! Requests and handshakes that no honest client sends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::{Connection, Request, Target};
use harness::expect::Faults;
use harness::gate::note;
use harness::noise::noise;
use harness::site::Site;
use harness::stream::Stream;

use super::{Secured, end};
use crate::case::Bench;
use crate::hostile::raw::{Raw, connect_from};
use crate::hostile::weight::bounded;

/// How long an honest client waits at most, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// The header of a `ClientHello` of 16 KiB, of which more is announced than comes.
const HELLO: [u8; 9] = [0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc];

/// Sends bytes over TLS and reads until the end.
fn exchange(target: &Target, bytes: &[u8]) -> anyhow::Result<String> {
    let stream = Stream::open(&target.host, target.port, target.tls.as_ref())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    (&stream).write_all(bytes)?;
    let mut said = Vec::new();
    (&stream).read_to_end(&mut said).context("the connection stays open")?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

pub fn refused(bench: &Bench) -> anyhow::Result<()> {
    let server = Secured::new(bench)?.options.env("SKYBERTH_SERVER_HEADER_TIMEOUT", "2s").start()?;
    let target = server.target();
    let mut faults = Faults::default();
    for head in [
        "GET /v2/ HTTP/1.1\r\nHost: a\n\r\n",
        "GET /v2/ HTTP/1.1\nHost: a\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ] {
        faults.check(
            head,
            (|| {
                let said = exchange(&target, head.as_bytes())?;
                ensure!(said.starts_with("HTTP/1.1 400 ") || said.starts_with("HTTP/1.1 501 "), "{said}");
                Ok(())
            })(),
        );
    }
    let handshakes: [(&str, &[u8]); 4] = [
        ("nothing", b""),
        ("half a hello", &HELLO),
        ("a record that is no handshake", &[0x16, 3, 1, 0, 2, 0xff, 0xff]),
        ("another version", &[0x16, 9, 9, 0, 4, 1, 0, 0, 0]),
    ];
    for (what, bytes) in handshakes {
        faults.check(
            what,
            (|| {
                let mut raw = Raw::open(&target)?;
                raw.send(bytes);
                raw.until_closed(PATIENCE).map(drop)
            })(),
        );
    }
    faults.finish()?;
    target.send(&Request::get("/v2/"))?.expect(200)?;
    end(server)
}

/// Connections whose answers nobody reads. TLS keeps some of them in memory, too.
pub fn stalled(bench: &Bench) -> anyhow::Result<()> {
    let server = Secured::new(bench)?.options.start()?;
    let target = server.target();
    let repo = Site::new(target.clone(), "stalled").repo("a");
    let path = repo.blob(&repo.push_blob(&noise("unread", 16 << 20))?);
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    bounded(&server, || {
        let mut all = Vec::new();
        for _ in 0..bench.scale.pick(200, 400, 500) {
            let stream = Stream::open(&target.host, target.port, target.tls.as_ref())?;
            (&stream).write_all(request.as_bytes())?;
            all.push(stream);
        }
        for _ in 0..3 {
            honest(&target, &path)?;
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    })?;
    end(server)
}

/// An honest client connects, and gets all of the content in time.
fn honest(target: &Target, path: &str) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let answer = Connection::open(target)?.send(&Request::get(path)).context("an honest client")?;
    ensure!(answer.status == 200, "an honest client got {}", answer.status);
    let took = begun.elapsed();
    ensure!(took < PATIENCE, "an honest client waited {took:?}");
    Ok(took)
}

/// One address holds all handshakes that it can, and begins and ends others as fast as it can.
pub fn handshakes(bench: &Bench) -> anyhow::Result<()> {
    let server = Secured::new(bench)?.options.start()?;
    let target = server.target();
    let port = target.port;
    let mut kept = Connection::open(&target)?;
    kept.send(&Request::get("/v2/"))?.expect(200)?;
    let time = Duration::from_secs(bench.scale.pick(4, 8, 60));
    let (over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let slowest = bounded(&server, || {
        std::thread::scope(|scope| {
            // Each holds most of a hello of 16 KiB.
            let hoard = scope.spawn(|| {
                let mut held: Vec<TcpStream> = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    if let Ok(mut stream) = connect_from([127, 0, 0, 2], port) {
                        let _ = stream.set_write_timeout(Some(Duration::from_secs(1)));
                        let _ = stream.write_all(&[&HELLO[..], &[0; 16_000]].concat());
                        held.push(stream);
                    }
                    if held.len() > 600 {
                        std::thread::sleep(Duration::from_millis(20));
                        held.drain(..10);
                    }
                }
            });
            let hasty: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        while !over.load(Ordering::Relaxed) {
                            if begin_and_leave(&target).is_ok() {
                                count.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    })
                })
                .collect();
            let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
            let mut served = || -> anyhow::Result<()> {
                while begun.elapsed() < time {
                    let asked = Instant::now();
                    kept.send(&Request::get("/v2/")).context("a connection from before")?.expect(200)?;
                    slowest = slowest.max(asked.elapsed()).max(honest(&target, "/v2/")?);
                    std::thread::sleep(Duration::from_millis(50));
                }
                Ok(())
            };
            let result = served();
            over.store(true, Ordering::Relaxed);
            let _ = hoard.join();
            for one in hasty {
                let _ = one.join();
            }
            result.map(|()| slowest)
        })
    })?;
    note(&format!("{} handshakes; an honest client waited {slowest:?} at most", count.load(Ordering::Relaxed)));
    ensure!(slowest < PATIENCE, "an honest client waited {slowest:?}");
    end(server)
}

/// Does the costly part of a handshake, and leaves.
fn begin_and_leave(target: &Target) -> anyhow::Result<()> {
    let config = target.tls.as_ref().context("no TLS")?;
    let stream = Stream::open(&target.host, target.port, Some(&Arc::clone(config)))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    (&stream).write_all(b"G")?;
    Ok(())
}

/// Clients that a proxy names before the handshake, and one that names itself.
pub fn proxied(bench: &Bench) -> anyhow::Result<()> {
    let secured = Secured::new(bench)?;
    // The proxy is 127.0.0.2; health checks of this gate come from 127.0.0.1.
    let server = secured
        .options
        .clone()
        .env("SKYBERTH_SERVER_TRUSTED_PROXIES", "127.0.0.2")
        .env("SKYBERTH_SERVER_PROXY_PROTOCOL", "true")
        .env("SKYBERTH_AUTH_ANONYMOUS", "all")
        .env("SKYBERTH_LOG_ACCESS", "all")
        .start()?;
    let target = server.target();
    let line = |client: &str| format!("PROXY TCP4 {client} 127.0.0.1 5678 443\r\n");
    let request = "GET /v2/ HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.9\r\nConnection: close\r\n\r\n";
    let ask = |from: u8, header: &str| -> anyhow::Result<String> {
        let mut socket = connect_from([127, 0, 0, from], target.port)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(header.as_bytes())?;
        let stream = Stream::over(socket, &target.host, target.tls.as_ref())?;
        (&stream).write_all(request.as_bytes())?;
        let mut said = Vec::new();
        (&stream).read_to_end(&mut said)?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    };
    let named = ask(2, &line("192.0.2.7"))?;
    ensure!(named.starts_with("HTTP/1.1 200 "), "{named}");
    ensure!(ask(2, "").is_err(), "a proxy that names nobody is served");
    ensure!(ask(3, &line("192.0.2.8")).is_err(), "a client that names itself is served");
    let itself = ask(3, "")?;
    ensure!(itself.starts_with("HTTP/1.1 200 "), "{itself}");
    end(server)?;
    let log = secured.log();
    for (client, is_logged) in
        [("client=192.0.2.7", true), ("client=127.0.0.3", true), ("192.0.2.8", false), ("198.51.100.9", false)]
    {
        ensure!(log.contains(client) == is_logged, "{client} in the log: {}", !is_logged);
    }
    Ok(())
}
