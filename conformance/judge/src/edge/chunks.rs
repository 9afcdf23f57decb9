//! Chunks of an upload: in order, out of order, interrupted, two at once (rows 51-60).

use std::time::Duration;

use anyhow::{Context, ensure};
use harness::client::{Request, Response};
use harness::expect::{self, Faults};
use harness::partial::{Partial, eventually};
use harness::site::{Session, Site, sha256};

/// Expects a 202 of a PATCH, after which the session has this many bytes.
fn taken(answer: &Response, length: usize) -> anyhow::Result<()> {
    answer.expect(202)?;
    expect::relative_location(answer)?;
    expect::header(answer, "Range", &format!("0-{}", length.saturating_sub(1)))
}

/// Expects an error with the session's offset, so that the client can continue.
pub fn stands(answer: &Response, status: u16, code: &str, length: usize) -> anyhow::Result<()> {
    expect::error(answer, &[status], &[code])?;
    if !answer.own {
        return Ok(());
    }
    expect::relative_location(answer)?;
    expect::header(answer, "Range", &format!("0-{}", length.saturating_sub(1)))
}

/// A session with the bytes `0123456789`.
fn ten(site: &Site) -> anyhow::Result<Session> {
    let mut session = site.repo("a").begin()?;
    session.chunk(0, b"0123456789")?;
    Ok(session)
}

pub fn chunks_in_order(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let bytes = site.noise("blob", 30_000);
    let mut session = repo.begin()?;
    for start in (0..30_000).step_by(10_000) {
        let request = session.ranged(start, &bytes[start..start + 10_000]);
        taken(&session.advance(&request)?, start + 10_000)?;
        session.holds(start + 10_000)?;
    }
    let want = sha256(&bytes);
    expect::pushed(&repo, &session.close(&want)?, &want, &bytes)
}

pub fn chunks_out_of_order(site: &Site) -> anyhow::Result<()> {
    let session = ten(site)?;
    let mut faults = Faults::default();
    for (what, start, length) in [("gap", 11, 5), ("overlap", 5, 10), ("repeat", 0, 10), ("far", 1 << 40, 5)] {
        let answer = session.send(&session.ranged(start, &vec![b'x'; length]))?;
        faults.check(what, stands(&answer, 416, "BLOB_UPLOAD_INVALID", 10));
        faults.check(what, session.holds(10));
    }
    let fresh = site.repo("a").begin()?;
    let first = fresh.send(&fresh.ranged(5, b"56789"))?;
    faults.check("first not at 0", stands(&first, 416, "BLOB_UPLOAD_INVALID", 0));
    let next = session.send(&session.ranged(10, b"abcde"))?;
    faults.check("the session goes on", taken(&next, 15));
    let closed = Session::of(&site.target, &next).and_then(|session| session.close(&sha256(b"0123456789abcde")));
    faults.check("close", closed.and_then(|answer| answer.expect(201).map(drop)));
    faults.finish()
}

pub fn streams_append_and_roll_back(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let bytes = site.noise("blob", 200_000);
    let mut session = repo.begin()?;
    session.stream(&bytes[..100_000])?;
    session.holds(100_000)?;
    drop(Partial::sized(&site.target, "PATCH", &session.location, "", 100_000, &bytes[100_000..150_000])?);
    std::thread::sleep(Duration::from_millis(200));
    eventually(Duration::from_secs(5), || session.holds(100_000)).context("a sized stream broken off")?;
    let head = format!("PATCH {} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", session.location);
    drop(Partial::open(&site.target, &head, b"5\r\nabcde\r\n5\r\nab")?);
    std::thread::sleep(Duration::from_millis(200));
    eventually(Duration::from_secs(5), || session.holds(100_000)).context("a chunked stream broken off")?;
    session.stream(&bytes[100_000..])?;
    let want = sha256(&bytes);
    expect::pushed(&repo, &session.close(&want)?, &want, &bytes)
}

pub fn a_ranged_chunk_broken_off_keeps_its_start(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let bytes = site.noise("blob", 300_000);
    let mut session = repo.begin()?;
    session.chunk(0, &bytes[..100_000])?;
    let range = "Content-Range: 100000-299999";
    drop(Partial::sized(&site.target, "PATCH", &session.location, range, 200_000, &bytes[100_000..200_000])?);
    std::thread::sleep(Duration::from_millis(500));
    let answer = session.status()?;
    answer.expect(204)?;
    let kept = answer.need("Range")?.strip_prefix("0-").context("Range")?.parse::<usize>()? + 1;
    ensure!((100_000..=200_000).contains(&kept), "stands at {kept} after 100000 + a part of 100000");
    let repeated = session.send(&session.ranged(kept + 1, b"x"))?;
    stands(&repeated, 416, "BLOB_UPLOAD_INVALID", kept)?;
    session.chunk(kept, &bytes[kept..])?;
    let want = sha256(&bytes);
    expect::pushed(&repo, &session.close(&want)?, &want, &bytes)
}

pub fn content_range_of_another_length(site: &Site) -> anyhow::Result<()> {
    let session = ten(site)?;
    let mut faults = Faults::default();
    for range in ["10-19", "10-10"] {
        let answer = session.send(&session.patch().header("Content-Range", range).body(*b"abcde"))?;
        faults.check(range, stands(&answer, 400, "SIZE_INVALID", 10));
        faults.check(range, session.holds(10));
    }
    faults.finish()
}

pub fn malformed_content_range(site: &Site) -> anyhow::Result<()> {
    let session = ten(site)?;
    let mut faults = Faults::default();
    for range in ["a-b", "15-10", "10", "-5", "10-", "10-14-15", "99999999999999999999-99999999999999999999"] {
        let answer = session.send(&session.patch().header("Content-Range", range).body(*b"abcde"))?;
        faults.check(range, stands(&answer, 416, "BLOB_UPLOAD_INVALID", 10));
        faults.check(range, session.holds(10));
    }
    for (range, end) in [("bytes 10-14/20", 15), ("bytes=15-19", 20), ("bytes 20-24/*", 25)] {
        let answer = session.send(&session.patch().header("Content-Range", range).body(*b"abcde"))?;
        faults.check(range, taken(&answer, end));
    }
    faults.finish()
}

pub fn ranged_chunk_without_length(site: &Site) -> anyhow::Result<()> {
    let session = ten(site)?;
    let send = |range: &str| session.send(&session.patch().header("Content-Range", range).chunked(*b"abcde", 2));
    let mut faults = Faults::default();
    for range in ["10-15", "10-13"] {
        faults.check(range, stands(&send(range)?, 400, "SIZE_INVALID", 10));
        faults.check(range, session.holds(10));
    }
    faults.check("10-14", taken(&send("10-14")?, 15));
    let answer = session.close(&sha256(b"0123456789abcde"))?;
    faults.check("close", answer.expect(201).map(drop));
    faults.finish()
}

pub fn a_chunk_of_nothing(site: &Site) -> anyhow::Result<()> {
    let fresh = site.repo("a").begin()?;
    for (session, length) in [(fresh, 0), (ten(site)?, 10)] {
        taken(&session.send(&session.patch())?, length)?;
        taken(&session.send(&session.patch().chunked(Vec::new(), 1))?, length)?;
        session.holds(length)?;
    }
    Ok(())
}

pub fn tiny_chunks(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let begun = repo.send(&Request::new("POST", repo.uploads()))?;
    let smallest = begun.header("OCI-Chunk-Min-Length").map(str::parse::<usize>).transpose()?;
    let mut session = Session::of(&site.target, &begun)?;
    for (start, byte) in b"tiny".iter().enumerate() {
        let answer = session.send(&session.ranged(start, &[*byte]))?;
        let too_small = smallest.is_some_and(|least| least > 1);
        if too_small && answer.status == 416 {
            return stands(&answer, 416, "BLOB_UPLOAD_INVALID", start);
        }
        // The specification does not say how to refuse it.
        if too_small && !answer.own && (400..500).contains(&answer.status) {
            return Ok(());
        }
        taken(&answer, start + 1)?;
        session = Session::of(&site.target, &answer)?;
    }
    expect::pushed(&repo, &session.close(&sha256(b"tiny"))?, &sha256(b"tiny"), b"tiny")
}

pub fn two_chunks_at_once(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let bytes = site.noise("blob", 2000);
    let session = repo.begin()?;
    let mut first = Partial::sized(&site.target, "PATCH", &session.location, "", 2000, &bytes[..1000])?;
    first.patience(Duration::from_secs(20))?;
    std::thread::sleep(Duration::from_millis(300));
    let (ranged, stream) = std::thread::scope(|scope| {
        let ranged = scope.spawn(|| session.send(&session.ranged(0, &bytes[..500])));
        let stream = scope.spawn(|| session.send(&session.patch().chunked(*b"interloper", 4)));
        std::thread::sleep(Duration::from_millis(300));
        let sent = first.more(&bytes[1000..]);
        (ranged.join(), (stream.join(), sent))
    });
    let (stream, sent) = stream;
    sent?;
    taken(&first.answer()?, 2000)?;
    let mut faults = Faults::default();
    let died = |_| anyhow::anyhow!("a client's thread died");
    faults.check("ranged", waiter(&ranged.map_err(died)??, 416));
    faults.check("stream", waiter(&stream.map_err(died)??, 409));
    faults.check("status", session.holds(2000));
    let want = sha256(&bytes);
    faults.check("close", expect::pushed(&repo, &session.close(&want)?, &want, &bytes));
    faults.finish()
}

/// The offset depends on whether the request waited or was refused at once.
fn waiter(answer: &Response, status: u16) -> anyhow::Result<()> {
    expect::error(answer, &[status], &["BLOB_UPLOAD_INVALID"])?;
    expect::relative_location(answer)?;
    ensure!(answer.need("Range")?.starts_with("0-"), "Range {:?}", answer.header("Range"));
    Ok(())
}
