//! Slow clients (limits: 2 s for a head, 2 s without a byte of a body, 3 s between requests).

use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::expect::{self, Faults, that};
use harness::noise::noise;

use super::raw::{Raw, Said};
use super::state::Victim;
use super::victim;
use crate::case::Bench;

const LIMIT: Duration = Duration::from_secs(12);

pub fn senders(bench: &Bench) -> anyhow::Result<()> {
    let victim = victim(bench, "senders")?;
    let sessions = (0..3).map(|_| victim.repo.begin()).collect::<anyhow::Result<Vec<_>>>()?;
    let patch = |number: usize| format!("PATCH {} HTTP/1.1\r\nHost: localhost\r\n", sessions[number].location);
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    let mut faults = Faults::default();
    let starts = [
        ("nothing at all", String::new()),
        ("half a line", "GET /v".to_owned()),
        ("a line", "GET /v2/ HTTP/1.1\r\n".to_owned()),
        ("half a head", "GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".to_owned()),
        ("a head without its end", "GET /v2/ HTTP/1.1\r\nHost: localhost\r\n".to_owned()),
        ("half a preface", "PRI * HTTP/2.0\r\n".to_owned()),
        ("a body of no byte", patch(0) + "Content-Length: 9\r\n\r\n"),
        ("half a chunk size", patch(1) + chunked + "1"),
        ("a chunk without its end", patch(2) + chunked + "5\r\nab"),
    ];
    std::thread::scope(|scope| {
        let running: Vec<_> = starts.iter().map(|(what, start)| (what, scope.spawn(|| cut(&victim, start)))).collect();
        for (what, one) in running {
            faults.check(what, one.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the client died"))));
        }
    });
    faults.check("a head byte by byte", drip(&victim));
    faults.check("an idle connection", idle(&victim));
    for session in &sessions {
        faults.check("a session", session.holds(0));
        faults.check("a session", expect::status(&victim.repo.delete(&session.location)?, &[204]));
    }
    faults.check("the state", victim.unchanged());
    faults.finish()?;
    victim.end()
}

fn cut(victim: &Victim, start: &str) -> anyhow::Result<()> {
    let mut raw = Raw::open(&victim.target())?;
    raw.send(start.as_bytes());
    in_time(&raw.until_closed(LIMIT)?)
}

fn in_time(said: &Said) -> anyhow::Result<()> {
    ensure!(said.took > Duration::from_millis(1500), "cut after {:?} already", said.took);
    that(matches!(said.statuses().as_slice(), [] | [400 | 408]), || said.clip())
}

/// Always sends and never finishes. The limit counts from the first byte of a head.
fn drip(victim: &Victim) -> anyhow::Result<()> {
    let mut raw = Raw::open(&victim.target())?;
    let started = Instant::now();
    let mut said = raw.listen(Duration::from_millis(1), |_| true)?;
    for byte in "GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".bytes().chain(std::iter::repeat(b'x')) {
        if said.closed || !raw.send(&[byte]) || started.elapsed() > LIMIT {
            break;
        }
        said = raw.listen(Duration::from_millis(200), |said| said.closed)?;
    }
    in_time(&raw.until_closed(Duration::from_secs(1))?)
}

fn idle(victim: &Victim) -> anyhow::Result<()> {
    let mut raw = Raw::open(&victim.target())?;
    raw.send(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let said = raw.until_closed(LIMIT)?;
    ensure!(said.statuses() == [200], "{:?}", said.statuses());
    ensure!(said.took > Duration::from_millis(2500), "an idle connection is cut after {:?}", said.took);
    Ok(())
}

/// Unread answers must not occupy a transfer forever.
pub fn readers(bench: &Bench) -> anyhow::Result<()> {
    let victim = victim(bench, "readers")?;
    // More than the socket buffers of both sides contain.
    let digest = victim.repo.push_blob(&noise("unread", 64 << 20))?;
    let victim_path = victim.repo.blob(&digest);
    let mut all = Vec::new();
    for _ in 0..8 {
        let mut raw = Raw::open(&victim.target())?;
        raw.send(format!("GET {victim_path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        all.push(raw);
    }
    std::thread::sleep(Duration::from_secs(6));
    for mut raw in all {
        let said = raw.listen(LIMIT, |said| said.bytes.len() > 64 << 20)?;
        ensure!(said.closed && said.bytes.len() < 64 << 20, "a reader that paused for 6 s got all of it");
    }
    let mut pipelined = Raw::open(&victim.target())?;
    let request = format!("GET {victim_path} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(1000);
    pipelined.send(request.as_bytes());
    drop(pipelined);
    let pulled = victim.repo.get(&victim_path)?;
    ensure!(pulled.status == 200 && pulled.body.len() == 64 << 20, "others are not served: {}", pulled.status);
    victim.end()
}
