//! Valid requests, changed at random. None may cause a 5xx or a hang, and a refused request must change nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use harness::client::{Connection, Request};
use harness::gate::note;
use harness::random::mix;

use super::mutate::{Dice, mutate};
use super::raw::{Raw, Said};
use super::state::Victim;
use super::victim;
use crate::case::Bench;

/// Number of servers. Each has one client, so that a change of state can be traced to one request.
const WORKERS: usize = 8;
/// Wait for an answer before we signal that nothing more will come.
const PATIENCE: Duration = Duration::from_millis(40);
/// Time in which an abandoned push finishes.
const SETTLE: Duration = Duration::from_secs(1);
/// Longest life of a connection after that: the limits of 2 s, on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

type Counts = BTreeMap<String, u64>;

pub fn run(bench: &Bench) -> anyhow::Result<()> {
    let rounds: u64 = bench.scale.pick(500, 5_000, 100_000);
    let counts: Vec<anyhow::Result<Counts>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..WORKERS as u64)
            .map(|worker| scope.spawn(move || work(bench, worker, rounds / WORKERS as u64)))
            .collect();
        running.into_iter().map(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a worker died")))).collect()
    });
    let mut total = Counts::new();
    for counts in counts {
        for (key, count) in counts? {
            *total.entry(key).or_insert(0) += count;
        }
    }
    note(&format!("answers: {total:?}"));
    ensure!(total.values().sum::<u64>() >= rounds / 2, "only {total:?}");
    Ok(())
}

fn work(bench: &Bench, worker: u64, rounds: u64) -> anyhow::Result<Counts> {
    let victim = victim(bench, &format!("worker{worker}"))?;
    let requests = requests(&victim);
    let mut watch = Connection::open(&victim.target())?;
    let mut last = sequence(&victim, &mut watch)?;
    let mut counts = Counts::new();
    for round in 0..rounds {
        let seed = mix(bench.seed) ^ (worker << 32 | round);
        let mut dice = Dice::new(seed);
        let request = mutate(&requests[dice.below(requests.len())], &mut dice);
        let said = ask(&victim, &request).with_context(|| described(seed, &request))?;
        let statuses = said.statuses();
        ensure!(statuses.iter().all(|status| *status < 500), "{statuses:?} to {}", described(seed, &request));
        let after = sequence(&victim, &mut watch).with_context(|| described(seed, &request))?;
        last = match is_refusal(&statuses) && after != last {
            true => changes_nothing(&victim, &mut watch, &request).with_context(|| described(seed, &request))?,
            false => after,
        };
        let key = statuses.first().map_or("cut".to_owned(), |status| format!("{}xx", status / 100));
        *counts.entry(key).or_insert(0) += 1;
    }
    let mut still = Connection::open(&victim.target())?;
    still.send(&Request::get("/v2/"))?.expect(200).context("after all mutations")?;
    victim.end()?;
    Ok(counts)
}

fn is_refusal(statuses: &[u16]) -> bool {
    !statuses.is_empty() && statuses.iter().all(|status| (400..500).contains(status))
}

/// The state changed during a refused request. An earlier push, whose client stopped waiting, may have finished just
/// then. So the refused request is repeated when all is quiet, and must then change nothing. Returns the state then.
fn changes_nothing(victim: &Victim, watch: &mut Connection, request: &[u8]) -> anyhow::Result<u64> {
    std::thread::sleep(SETTLE);
    let before = sequence(victim, watch)?;
    let statuses = ask(victim, request)?.statuses();
    std::thread::sleep(SETTLE);
    let after = sequence(victim, watch)?;
    ensure!(!is_refusal(&statuses) || before == after, "{statuses:?} changed the state");
    Ok(after)
}

/// Waits for an answer. If none comes, closes our side, and the server must close.
fn ask(victim: &Victim, request: &[u8]) -> anyhow::Result<Said> {
    let mut raw = Raw::open(&victim.target())?;
    raw.send(request);
    let is_answered = |said: &Said| {
        let head = said.bytes.windows(4).any(|four| four == b"\r\n\r\n");
        said.closed || (head && !said.statuses().is_empty())
    };
    let said = raw.listen(PATIENCE, is_answered)?;
    if is_answered(&said) {
        return Ok(said);
    }
    raw.end();
    let said = raw.until_closed(LIMIT)?;
    ensure!(said.took < LIMIT, "it took {:?}", said.took);
    Ok(said)
}

/// The number of the last change. The connection is reopened if the server closed it as idle.
fn sequence(victim: &Victim, watch: &mut Connection) -> anyhow::Result<u64> {
    for _ in 0..2 {
        if let Ok(answer) = watch.send(&Request::get("/readyz")) {
            let sequence = answer.json()?["sequence"].as_u64();
            return sequence.with_context(|| format!("no sequence in {}", answer.text()));
        }
        *watch = Connection::open(&victim.target()).context("the server takes no connection")?;
    }
    bail!("the server does not answer /readyz")
}

fn described(seed: u64, request: &[u8]) -> String {
    format!("mutation {seed:#x}: {:?}", String::from_utf8_lossy(&request[..request.len().min(600)]))
}

/// One valid request of each kind.
fn requests(victim: &Victim) -> Vec<Vec<u8>> {
    let (repo, digest) = (&victim.repo, victim.manifest.digest());
    let session = &victim.session.location;
    let close = harness::site::with_query(session, &format!("digest={}", victim.blob));
    let post = format!("{}?digest={}", repo.uploads(), victim.blob);
    let mount = format!("{}?mount={}&from={}", repo.uploads(), victim.blob, repo.name);
    let blob = "a blob of the victim";
    let manifest = String::from_utf8_lossy(&victim.manifest.bytes).into_owned();
    let octets = "Content-Type: application/octet-stream\r\n";
    let image = format!("Content-Type: {}\r\n", victim.manifest.media_type);
    let chunked = "14\r\na blob of the victim\r\n0\r\n\r\n";
    let rows: Vec<(&str, String, String, &str)> = vec![
        ("GET", "/v2/".into(), String::new(), ""),
        ("GET", "/v2/_catalog?n=5&last=a".into(), String::new(), ""),
        ("GET", format!("{}?n=3&last=b", repo.tags()), String::new(), ""),
        ("GET", repo.manifest("latest"), "Accept: */*\r\nIf-None-Match: \"x\"\r\n".into(), ""),
        ("HEAD", repo.manifest(&digest), String::new(), ""),
        ("GET", repo.blob(&victim.blob), "Range: bytes=2-5,7-\r\n".into(), ""),
        ("GET", repo.referrers(&digest), String::new(), ""),
        ("GET", session.clone(), String::new(), ""),
        ("POST", post, format!("{octets}Content-Length: {}\r\n", blob.len()), blob),
        ("POST", mount, "Content-Length: 0\r\n".into(), ""),
        ("PATCH", session.clone(), format!("{octets}Content-Range: 10-29\r\nContent-Length: 20\r\n"), blob),
        ("PATCH", session.clone(), format!("{octets}Transfer-Encoding: chunked\r\n"), chunked),
        ("PUT", close, format!("{octets}Content-Length: {}\r\n", blob.len()), blob),
        ("PUT", repo.manifest("new"), format!("{image}Content-Length: {}\r\n", manifest.len()), &manifest),
        ("DELETE", repo.manifest("absent"), String::new(), ""),
        ("DELETE", repo.blob(&digest), String::new(), ""),
    ];
    rows.into_iter()
        .map(|(method, path, fields, body)| {
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}").into_bytes()
        })
        .collect()
}
