//! Clients that make a server keep bytes: answers that they do not read, manifests that do not end, pushes that they
//! leave. The server has default settings.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::{Connection, Request, Target};
use harness::manifest::{IMAGE, Manifest};
use harness::noise::noise;
use harness::server::Server;
use harness::site::{Repo, Site};
use serde_json::json;

use super::frames::{ACK, DATA, END_STREAM, SETTINGS, Windows, frame, greeted, greeted_with_huge_windows, request};
use super::raw::Raw;
use super::weight::bounded;
use crate::case::Bench;

/// Streams that a server allows on one connection.
const STREAMS: u32 = 100;
/// Streams that send a manifest slowly. The others wait for them.
const SLOW: u32 = 16;
/// How long an honest client waits at most.
const PATIENCE: Duration = Duration::from_secs(20);
/// The time in which a server reads a manifest of 4 MiB and begins to check it.
const WORK: Duration = Duration::from_millis(800);
/// Bytes of one DATA frame.
const PIECE: usize = 16 << 10;

fn repo(server: &Server) -> Repo {
    Site::new(server.target(), "hoarders").repo("a")
}

/// The number of the request's stream.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

/// 100 streams of a connection, whose client takes any number of bytes and reads a few KiB now and then.
pub fn unread(bench: &Bench) -> anyhow::Result<()> {
    let server = bench.server()?.start()?;
    let repo = repo(&server);
    let digest = repo.push_blob(&noise("unread", 16 << 20))?;
    unread_answers(bench, &server, &repo.blob(&digest))
}

/// Streams of a portal whose answers nobody reads.
pub fn unread_of_portal(bench: &Bench) -> anyhow::Result<()> {
    let server = bench.server()?.portal().start()?;
    let upload = Request::new("POST", "/skynet/skyfile?filename=unread")
        .header("Content-Type", "application/octet-stream")
        .body(noise("unread", 16 << 20));
    let answer = server.target().send(&upload)?.expect(200)?.text();
    let skylink = serde_json::from_str::<serde_json::Value>(&answer)?;
    let path = format!("/{}", skylink["skylink"].as_str().context("no skylink")?);
    unread_answers(bench, &server, &path)
}

fn unread_answers(bench: &Bench, server: &Server, path: &str) -> anyhow::Result<()> {
    let connections = bench.scale.pick(6, 12, 20);
    let rounds = bench.scale.pick(4, 8, 60);
    bounded(server, || {
        let mut all = Vec::new();
        for _ in 0..connections {
            let mut raw = Raw::open(&server.target())?;
            raw.send(&greeted_with_huge_windows());
            let requests = (0..STREAMS).map(|number| request(stream(number), END_STREAM, "GET", path, &[]));
            raw.send(&requests.collect::<Vec<_>>().concat());
            all.push(raw);
        }
        for round in 1..=rounds {
            for raw in &mut all {
                // Reading keeps the connection alive.
                raw.listen(Duration::from_millis(50), |said| said.bytes.len() >= round * PIECE)?;
            }
            pull(&server.target(), path)?;
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    })
}

/// An honest client gets all of the content.
fn pull(target: &Target, path: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut connection = Connection::open(target)?;
    let answer = connection.send(&Request::get(path)).context("an honest pull")?;
    ensure!(
        answer.status == 200 && answer.body.len() == 16 << 20,
        "{} with {} bytes",
        answer.status,
        answer.body.len()
    );
    ensure!(begun.elapsed() < PATIENCE, "an honest pull took {:?}", begun.elapsed());
    Ok(())
}

/// Many connections over HTTP/1.1, each with an answer that nobody reads. One address may have half of all connections.
pub fn stalled(bench: &Bench) -> anyhow::Result<()> {
    let server = bench.server()?.start()?;
    let repo = repo(&server);
    let path = repo.blob(&repo.push_blob(&noise("unread", 16 << 20))?);
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    bounded(&server, || {
        let mut all = Vec::new();
        for _ in 0..bench.scale.pick(200, 400, 500) {
            let mut raw = Raw::open(&server.target())?;
            raw.send(request.as_bytes());
            all.push(raw);
        }
        for _ in 0..4 {
            pull(&server.target(), &path)?;
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    })
}

/// Sixteen large manifests that hardly move, and many that wait for them with all bytes that their windows allow.
pub fn dribbled(bench: &Bench) -> anyhow::Result<()> {
    // The addresses of clients are those that a proxy here names.
    let server = bench
        .server()?
        .env("SKYBERTH_SERVER_TRUSTED_PROXIES", "127.0.0.1")
        .env("SKYBERTH_AUTH_ANONYMOUS", "all")
        .start()?;
    let repo = repo(&server);
    let honest = repo.image("honest")?.with("annotations", json!({ "pad": "x".repeat(450 << 10) }));
    let connections = bench.scale.pick(4, 6, 16);
    bounded(&server, || {
        let mut attackers: Vec<Dribbler> =
            (0..connections).map(|_| Dribbler::open(&server.target(), &repo.path(""))).collect::<Result<_, _>>()?;
        for _ in 0..4 {
            for attacker in &mut attackers {
                attacker.fill()?;
            }
        }
        let pushing = std::thread::spawn({
            let (repo, honest) = (repo.clone(), honest);
            move || {
                let begun = Instant::now();
                let request = Request::new("PUT", repo.manifest("honest"))
                    .header("Content-Type", IMAGE)
                    .header("X-Forwarded-For", "10.0.0.2")
                    .body(honest.bytes.as_slice());
                (repo.send(&request), begun.elapsed())
            }
        });
        while !pushing.is_finished() {
            attackers.iter_mut().for_each(Dribbler::dribble);
            std::thread::sleep(Duration::from_millis(200));
        }
        let (answer, took) = pushing.join().map_err(|_| anyhow::anyhow!("the honest client died"))?;
        answer.context("an honest push")?.expect(201)?;
        ensure!(took < PATIENCE, "an honest push took {took:?}");
        Ok(())
    })
}

/// A connection with large manifests that do not end.
struct Dribbler {
    raw: Raw,
    sent: i64,
    of_stream: Vec<i64>,
}

impl Dribbler {
    fn open(target: &Target, repository: &str) -> anyhow::Result<Self> {
        let mut raw = Raw::open(target)?;
        raw.send(&greeted());
        // The server's windows are in force once its settings are acknowledged.
        raw.listen(PATIENCE, |said| !said.bytes.is_empty())?;
        raw.send(&frame(SETTINGS, ACK, 0, &[]));
        let headers = [("content-type", IMAGE), ("content-length", "4000000"), ("x-forwarded-for", "10.0.0.1")];
        for number in 0..STREAMS {
            let path = format!("{repository}manifests/{number}");
            raw.send(&request(stream(number), 0, "PUT", &path, &headers));
        }
        Ok(Dribbler { raw, sent: 0, of_stream: vec![0; STREAMS as usize] })
    }

    /// Sends what the windows allow, but only a part of the slow manifests.
    fn fill(&mut self) -> anyhow::Result<()> {
        let said = self.raw.listen(Duration::from_millis(300), |_| false)?;
        let windows = Windows::given_by(&said.bytes);
        for number in 0..STREAMS {
            let given = windows.initial + windows.updates.get(&stream(number)).unwrap_or(&0);
            let most = if number < SLOW { 300 << 10 } else { 3_900_000 };
            let sent = self.of_stream[number as usize];
            let length = (given.min(most) - sent).min(windows.connection - self.sent);
            self.send(number, length.max(0) as usize);
        }
        Ok(())
    }

    /// Sends one byte of each slow manifest.
    fn dribble(&mut self) {
        (0..SLOW).for_each(|number| self.send(number, 1));
    }

    fn send(&mut self, number: u32, length: usize) {
        let bytes = vec![b' '; length];
        bytes.chunks(PIECE).for_each(|piece| {
            self.raw.send(&frame(DATA, 0, stream(number), piece));
        });
        self.sent += length as i64;
        self.of_stream[number as usize] += length as i64;
    }
}

/// Large manifests whose clients leave once they have sent them.
pub fn left(bench: &Bench) -> anyhow::Result<()> {
    const CLIENTS: usize = 17;
    let server = bench.server()?.start()?;
    let repo = repo(&server);
    let count = bench.scale.pick(60, 120, 480);
    // Many references take most memory, but a registry may limit them.
    let manifests = [large(9_900), large(30_000)];
    bounded(&server, || {
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (repo, manifests) = (&repo, &manifests);
                    scope.spawn(move || {
                        (client..count)
                            .step_by(CLIENTS)
                            .try_for_each(|number| leave(repo, number, &manifests[number % 2]))
                    })
                })
                .collect();
            clients.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow::anyhow!("a client died"))?)
        })?;
        let begun = Instant::now();
        repo.push_image("honest").context("an honest push")?;
        ensure!(begun.elapsed() < PATIENCE, "an honest push took {:?}", begun.elapsed());
        Ok(())
    })
}

/// A manifest of nearly 4 MiB with references to absent blobs.
fn large(references: usize) -> Manifest {
    let layer =
        |number: usize| json!({ "mediaType": "a/b", "digest": format!("sha256:{number:064x}"), "size": number });
    let layers: Vec<_> = (1..references).map(layer).collect();
    let manifest = harness::manifest::image(&layer(references), &layers);
    let pad = 3_800_000 - manifest.bytes.len();
    manifest.with("annotations", json!({ "pad": "x".repeat(pad) }))
}

/// Sends a manifest whole, and leaves once the server has begun to work on it.
fn leave(repo: &Repo, number: usize, manifest: &Manifest) -> anyhow::Result<()> {
    let mut connection = Connection::open(&repo.target)?;
    let request = Request::new("PUT", repo.manifest(&format!("v{number}")))
        .header("Content-Type", IMAGE)
        .body(manifest.bytes.as_slice());
    connection.write(&request)?;
    connection.stream().set_read_timeout(Some(WORK))?;
    // An early answer is as good.
    let _ = connection.read_head();
    Ok(())
}
