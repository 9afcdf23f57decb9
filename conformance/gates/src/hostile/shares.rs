//! What one address can hold of what all clients use, and what is left to others.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::{Request, Target};
use harness::expect::{Faults, that};
use harness::gate::note;
use harness::server::ServerOptions;
use harness::site::{Session, Site, sha256};

use super::raw::{Raw, Said};
use super::state::Victim;
use crate::bench::process::cpu_seconds;
use crate::case::Bench;

/// Longer than a request waits for a permit, on a busy machine.
const LIMIT: Duration = Duration::from_secs(40);
/// The permits of each kind here.
const PERMITS: usize = 8;
/// Other machines than the honest client's.
const ATTACKERS: [u8; 2] = [66, 67];

fn victim(bench: &Bench, name: &str, limit: &str) -> anyhow::Result<Victim> {
    let options = ServerOptions::new(bench.binary, &bench.folder.join(name))?
        .env("SKYBERTH_SERVER_HEADER_TIMEOUT", "60s")
        .env(&format!("SKYBERTH_{limit}"), &PERMITS.to_string());
    Victim::new(&options)
}

/// Bodies of one address that send a byte from time to time. Half of them get no permit; the honest client does.
pub fn transfers(bench: &Bench) -> anyhow::Result<()> {
    let victim = victim(bench, "transfers", "REGISTRY_MAX_TRANSFERS")?;
    let sessions = (0..PERMITS).map(|_| victim.repo.begin()).collect::<anyhow::Result<Vec<_>>>()?;
    let target = victim.target();
    std::thread::scope(|scope| {
        let patches: Vec<_> = sessions.iter().map(|session| scope.spawn(|| dribble(&target, session))).collect();
        std::thread::sleep(Duration::from_secs(1));
        for number in 0..20 {
            victim.repo.push_blob(format!("honest {number}").as_bytes()).context("beside them")?;
        }
        let answers: Vec<_> =
            patches.into_iter().filter_map(|patch| patch.join().ok()).collect::<anyhow::Result<_>>()?;
        refused(&answers)
    })?;
    victim.end()
}

/// Sends a body byte by byte until an answer comes, or for longer than a request waits for a permit.
fn dribble(target: &Target, session: &Session) -> anyhow::Result<Said> {
    let mut raw = Raw::open_from(target, ATTACKERS[0])?;
    let head = format!("PATCH {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n", session.location);
    raw.send(head.as_bytes());
    let began = Instant::now();
    loop {
        let said = raw.listen(Duration::from_millis(500), |said| !said.statuses().is_empty())?;
        if said.closed || !said.statuses().is_empty() || began.elapsed() > Duration::from_secs(15) {
            return Ok(said);
        }
        raw.send(b"x");
    }
}

/// Half of the requests of one address have 429 with the time of a retry, the others no answer.
fn refused(answers: &[Said]) -> anyhow::Result<()> {
    let count = answers.iter().filter(|said| said.statuses() == [429]).count();
    let told = |said: &&Said| {
        let text = String::from_utf8_lossy(&said.bytes).to_lowercase();
        text.contains("retry-after: ") && text.contains("toomanyrequests")
    };
    ensure!(count == answers.len() / 2, "{count} of {} have 429: {:?}", answers.len(), statuses(answers));
    ensure!(answers.iter().filter(told).count() == count, "not all say when to retry");
    Ok(())
}

fn statuses(answers: &[Said]) -> Vec<Vec<u16>> {
    answers.iter().map(Said::statuses).collect()
}

/// Upload sessions of one address.
pub fn sessions(bench: &Bench) -> anyhow::Result<()> {
    let victim = victim(bench, "sessions", "REGISTRY_MAX_UPLOADS")?;
    let target = victim.target();
    let begin = || -> anyhow::Result<Said> {
        let mut raw = Raw::open_from(&target, ATTACKERS[0])?;
        let head = format!("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n", victim.repo.uploads());
        raw.send(format!("{head}Connection: close\r\n\r\n").as_bytes());
        raw.until_closed(LIMIT)
    };
    let answers = at_once(PERMITS, begin)?;
    let begun = answers.iter().filter(|said| said.statuses() == [202]).count();
    ensure!(begun == PERMITS / 2, "one address began {begun} of {PERMITS} sessions: {:?}", statuses(&answers));
    refused(&answers)?;
    victim.repo.push_blob(b"honest").context("beside them")?;
    victim.end()
}

/// Connections of two addresses that hold all, each with a request that never ends: health checks are answered in time.
pub fn connections(bench: &Bench) -> anyhow::Result<()> {
    let victim = victim(bench, "connections", "SERVER_MAX_CONNECTIONS")?;
    let target = victim.target();
    let hold =
        |last: u8| -> anyhow::Result<Vec<Raw>> { (0..4 * PERMITS).map(|_| Raw::open_from(&target, last)).collect() };
    let mut held: Vec<Raw> = hold(ATTACKERS[0])?;
    for raw in &mut held {
        raw.send(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    }
    let mut faults = Faults::default();
    faults.check("a push beside one address", victim.repo.push_blob(b"honest").map(drop));
    held.extend(hold(ATTACKERS[1])?);
    // Those beyond the limit have had their five seconds.
    std::thread::sleep(Duration::from_secs(7));
    for number in 0..5 {
        let (began, answer) = (Instant::now(), target.send(&Request::get("/livez")));
        let took = began.elapsed();
        faults.check(
            "a health check while all connections are held",
            answer.and_then(|answer| {
                that(answer.status == 200, || format!("check {number}: {}", answer.status))?;
                that(took < Duration::from_secs(3), || format!("check {number} took {took:?}"))
            }),
        );
    }
    drop(held);
    faults.check("a push when they are gone", victim.repo.push_blob(b"honest too").map(drop));
    faults.finish()?;
    victim.end()
}

/// The start page after pushes of manifests with 1,500 layers, asked for by 200 clients at once beside a push.
pub fn start_page(bench: &Bench) -> anyhow::Result<()> {
    let options = ServerOptions::new(bench.binary, &bench.folder.join("page"))?
        .env("SKYBERTH_REGISTRY_REFERENCE_CHECKS", "false");
    let server = options.start()?;
    let site = Site::new(server.target(), "page");
    for number in 0..50 {
        let repo = site.repo(&format!("r{}", number / 2));
        let manifest = Request::new("PUT", repo.manifest(&format!("v{number}"))).body(many_layers(number).as_bytes());
        repo.send(&manifest.header("Content-Type", "application/vnd.oci.image.manifest.v1+json"))?.expect(201)?;
    }
    let before = cpu_seconds(server.pid())?;
    let target = server.target();
    let answers = std::thread::scope(|scope| {
        let pushing = scope.spawn(|| {
            let began = Instant::now();
            site.repo("beside").push_blob(b"honest").map(|_| began.elapsed())
        });
        let answers = at_once(200, || Ok(target.send(&Request::get("/"))?.status))?;
        let took = pushing.join().map_err(|_| anyhow::anyhow!("the client died"))??;
        ensure!(took < Duration::from_secs(10), "a push beside them took {took:?}");
        anyhow::Ok(answers)
    })?;
    let cost = cpu_seconds(server.pid())? - before;
    ensure!(answers.iter().all(|status| matches!(status, 200 | 503)), "{answers:?}");
    ensure!(answers.contains(&200), "nobody got the page");
    // It was two seconds for each of them.
    ensure!(cost < 10.0, "200 requests for the start page took {cost:.1} s of processor time");
    note(&format!("200 requests for the start page took {cost:.2} s of processor time"));
    server.terminate(LIMIT)?;
    Ok(())
}

/// A manifest whose layers no other one has.
fn many_layers(number: usize) -> String {
    let descriptor = |layer: usize| {
        format!(r#"{{"mediaType":"a/b","size":1,"digest":"{}"}}"#, sha256(format!("{number} {layer}").as_bytes()))
    };
    let layers: Vec<String> = (1..=1500).map(descriptor).collect();
    format!(r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#, descriptor(0), layers.join(","))
}

/// Does the same at once, this many times.
fn at_once<T: Send>(times: usize, work: impl Fn() -> anyhow::Result<T> + Sync) -> anyhow::Result<Vec<T>> {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..times).map(|_| scope.spawn(&work)).collect();
        running.into_iter().map(|one| one.join().map_err(|_| anyhow::anyhow!("a client died"))?).collect()
    })
}
