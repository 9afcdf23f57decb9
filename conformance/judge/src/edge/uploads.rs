//! Upload sessions: begun, queried, ended, forged (rows 40-44, 61, 62, 64, 65, 71-75).

use std::time::Duration;

use anyhow::{Context, ensure};
use harness::client::{Body, Connection, Request, Response};
use harness::expect::{self, Faults};
use harness::partial::{Partial, eventually};
use harness::site::{ALGORITHMS, Repo, Session, Site, Style, digest, octets, sha256, with_query};

/// Expects the 202 that begins a session.
fn begun(answer: &Response) -> anyhow::Result<()> {
    answer.expect(202)?;
    let location = expect::relative_location(answer)?;
    if !answer.own {
        return Ok(());
    }
    let id = answer.need("Docker-Upload-UUID")?;
    ensure!(!id.is_empty() && location.contains(id), "Location {location} without the id {id}");
    expect::header(answer, "Range", "0-0")?;
    expect::header(answer, "Content-Length", "0")?;
    expect::header(answer, "Docker-Distribution-Api-Version", "registry/2.0")
}

pub fn post_begins_a_session(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let slash = Request::new("POST", repo.uploads());
    let plain = Request::new("POST", repo.path("blobs/uploads"));
    let mut cases = vec![
        ("with a slash", slash.clone()),
        ("a Content-Type", slash.clone().header("Content-Type", "text/plain; x=y")),
    ];
    if site.target.own {
        cases.push(("an empty chunked body", slash.chunked(Vec::new(), 1)));
        cases.push(("without a slash", plain));
    }
    let mut faults = Faults::default();
    let mut seen = Vec::new();
    for (what, request) in cases {
        let answer = repo.send(&request)?;
        faults.check(what, begun(&answer));
        seen.extend(answer.header("Docker-Upload-UUID").map(str::to_owned));
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    ensure!(seen.len() == count, "an id was given twice");
    faults.finish()
}

pub fn post_body_without_digest_is_dropped(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let bytes = site.noise("blob", 5000);
    for body in [Body::Sized(bytes.clone()), Body::Chunked(bytes.clone(), 1000)] {
        let mut connection = Connection::open(&site.target)?;
        let mut request = octets(Request::new("POST", repo.uploads()));
        request.body = body;
        let answer = connection.send(&request)?;
        begun(&answer)?;
        let session = Session::of(&site.target, &answer)?;
        session.holds(0)?;
        if !answer.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            let next = connection.send(&Request::get("/v2/")).context("the body was taken for a request")?;
            expect::status(&next, &[200])?;
        }
    }
    Ok(())
}

pub fn post_with_digest_is_a_whole_push(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for algorithm in ALGORITHMS {
        let repo = site.repo(algorithm);
        let bytes = site.noise(algorithm, 5000);
        let want = digest(algorithm, &bytes);
        let right = repo.push_blob_as(Style::Post, &want, &bytes)?;
        faults.check(algorithm, expect::pushed(&repo, &right, &want, &bytes));
        let (claimed, sent) = (site.noise("claimed", 10), site.noise("sent", 10));
        let wrong = repo.push_blob_as(Style::Post, &digest(algorithm, &claimed), &sent)?;
        faults.check("wrong body", expect::error(&wrong, &[400], &["DIGEST_INVALID"]));
        for bytes in [claimed, sent] {
            faults.check("nothing stored", expect::absent(&repo, &repo.blob(&digest(algorithm, &bytes))));
        }
    }
    faults.finish()
}

pub fn post_with_digest_and_no_length(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let bytes = site.noise("blob", 50_000);
    let path = with_query(&repo.uploads(), &format!("digest={}", sha256(&bytes)));
    let answer = repo.send(&octets(Request::new("POST", path)).chunked(bytes.clone(), 7000))?;
    expect::pushed(&repo, &answer, &sha256(&bytes), &bytes)
}

pub fn digest_algorithm_is_checked(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let post = |algorithm: &str| {
        repo.send(&Request::new("POST", with_query(&repo.uploads(), &format!("digest-algorithm={algorithm}"))))
    };
    let mut faults = Faults::default();
    for algorithm in ["foo", "SHA256", "sha384"] {
        faults.check(algorithm, expect::error(&post(algorithm)?, &[400], &["DIGEST_INVALID"]));
    }
    for algorithm in ALGORITHMS {
        let answer = post(algorithm)?;
        faults.check(algorithm, begun(&answer));
        let mut session = Session::of(&site.target, &answer)?;
        let bytes = site.noise(algorithm, 3000);
        session.stream(&bytes)?;
        let want = digest(algorithm, &bytes);
        faults.check(algorithm, expect::pushed(&repo, &session.close(&want)?, &want, &bytes));
    }
    faults.finish()
}

pub fn a_stale_location_still_leads_there(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let first = repo.begin()?;
    let mut newest = first.clone();
    newest.chunk(0, b"01234")?;
    let stale = first.send(&first.ranged(5, b"56789"))?;
    expect::status(&stale, &[202])?;
    expect::header(&stale, "Range", "0-9")?;
    newest.holds(10)?;
    expect::error(&first.send(&first.ranged(5, b"56789"))?, &[416], &["BLOB_UPLOAD_INVALID"])?;
    let bytes = b"0123456789";
    expect::pushed(&repo, &first.close(&sha256(bytes))?, &sha256(bytes), bytes)
}

pub fn no_session_but_ones_own(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let session = repo.begin()?;
    let Some(id) = session.id.clone() else {
        return Err(expect::not_here("no Docker-Upload-UUID, so none can be forged"));
    };
    let mut forged = id.clone().into_bytes();
    if let Some(last) = forged.last_mut() {
        *last = if *last == b'0' { b'1' } else { b'0' };
    }
    let forged = String::from_utf8(forged)?;
    let cancelled = repo.begin()?;
    if site.target.own {
        cancelled.send(&Request::new("DELETE", cancelled.location.clone()))?.expect(204)?;
    }
    let finished = repo.begin()?;
    finished.close_with(&sha256(b"x"), b"x")?.expect(201)?;
    let foreign = session.location.replace(&repo.name, &site.repo("b").name);
    let cases = [
        ("forged", session.location.replace(&id, &forged)),
        ("another repository's", foreign),
        ("cancelled", cancelled.location),
        ("no id at all", repo.path("blobs/uploads/not-a-session")),
        ("the zero id", repo.path("blobs/uploads/00000000-0000-0000-0000-000000000000")),
        ("a climbing id", repo.path("blobs/uploads/..%2f..%2fetc")),
    ];
    let mut faults = Faults::default();
    for (what, path) in cases.iter().filter(|(what, _)| site.target.own || *what != "cancelled") {
        faults.check(what, unknown_everywhere(site, path));
    }
    faults.check("finished", unknown(&repo.send(&Request::get(finished.location))?));
    faults.check("the real one is untouched", session.holds(0));
    faults.finish()
}

fn unknown(answer: &Response) -> anyhow::Result<()> {
    expect::error(answer, &[404], &["BLOB_UPLOAD_UNKNOWN"])
}

fn unknown_everywhere(site: &Site, path: &str) -> anyhow::Result<()> {
    let put = with_query(path, &format!("digest={}", sha256(b"abc")));
    unknown(&site.send(&Request::get(path))?)?;
    unknown(&site.send(&octets(Request::new("PATCH", path)).body(*b"abc"))?)?;
    unknown(&site.send(&octets(Request::new("PUT", put)).body(*b"abc"))?)?;
    if site.target.own { unknown(&site.send(&Request::new("DELETE", path))?) } else { Ok(()) }
}

pub fn status_of_a_session(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let mut session = repo.begin()?;
    for length in [0, 10] {
        if length == 10 {
            session.chunk(0, b"0123456789")?;
        }
        if !site.target.own {
            session.status()?.expect(204)?.need("Location")?;
            session.holds(length)?;
            continue;
        }
        let asked = with_query(&session.location, &format!("digest={}", sha256(b"0123456789")));
        for path in [session.location.clone(), asked] {
            for method in ["GET", "HEAD"] {
                let answer = repo.send(&Request::new(method, path.clone()))?;
                answer.expect(204).with_context(|| format!("{method} {path}"))?;
                expect::relative_location(&answer)?;
                expect::header(&answer, "Range", if length == 0 { "0-0" } else { "0-9" })?;
            }
        }
    }
    Ok(())
}

pub fn cancel_ends_a_session(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let session = repo.begin()?;
    let cancel = |session: &Session| session.send(&Request::new("DELETE", session.location.clone()));
    expect::status(&cancel(&session)?, &[204])?;
    unknown(&cancel(&session)?)?;
    unknown(&session.status()?)?;
    let session = repo.begin()?;
    let mut running = Partial::sized(&site.target, "PATCH", &session.location, "", 2000, &[b'x'; 1000])?;
    std::thread::sleep(Duration::from_millis(300));
    expect::status(&cancel(&session)?, &[204])?;
    let _ = running.more(&[b'x'; 1000]);
    running.patience(Duration::from_secs(10))?;
    unknown(&running.answer().context("answer of the PATCH that was running")?)?;
    unknown(&session.status()?)
}

pub fn closing_twice_is_answered_twice(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let bytes = site.noise("blob", 3000);
    let mut session = repo.begin()?;
    session.stream(&bytes)?;
    let want = sha256(&bytes);
    for _ in 0..2 {
        expect::pushed(&repo, &session.close(&want)?, &want, &bytes)?;
    }
    unknown(&session.close(&sha256(b"another"))?)
}

pub fn a_known_digest_is_no_proof(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let bytes = site.noise("blob", 3000);
    let want = repo.push_blob(&bytes)?;
    let mut faults = Faults::default();
    for &style in site.styles() {
        let wrong = repo.push_blob_as(style, &want, b"not these bytes at all")?;
        faults.check(&format!("{style:?}"), expect::error(&wrong, &[400], &["DIGEST_INVALID"]));
        let right = repo.push_blob_as(style, &want, &bytes)?;
        faults.check(&format!("{style:?}"), expect::pushed(&repo, &right, &want, &bytes));
    }
    faults.finish()
}

pub fn the_same_blob_by_many_clients(site: &Site) -> anyhow::Result<()> {
    const CLIENTS: usize = 8;
    let repo = site.repo("a");
    let bytes = site.noise("blob", 1 << 20);
    let want = sha256(&bytes);
    let styles = site.styles();
    let push = |number: usize| repo.push_blob_as(styles[number % styles.len()], &want, &bytes);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || push(number))).collect();
        running.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for answer in answers {
        let answer = answer.map_err(|_| anyhow::anyhow!("a client's thread died"))??;
        expect::pushed(&repo, &answer, &want, &bytes)?;
    }
    Ok(())
}

pub fn the_empty_blob(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for algorithm in site.algorithms() {
        // An empty chunk has no range, so the specification leaves one style.
        let styles = if site.target.own { site.styles() } else { &[Style::PostPut] };
        for (number, style) in styles.iter().enumerate() {
            let repo = site.repo(&format!("{algorithm}-{number}"));
            let want = digest(algorithm, b"");
            let answer = repo.push_blob_as(*style, &want, b"");
            let result = answer.and_then(|answer| expect::pushed(&repo, &answer, &want, b""));
            faults.check(&format!("{algorithm} {style:?}"), result);
        }
    }
    faults.finish()
}

pub fn a_body_cut_short_is_never_committed(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let bytes = site.noise("blob", 1000);
    // The digest of the half that arrives. Only the announced length can reveal that it is incomplete.
    let half = sha256(&bytes[..500]);
    let post = with_query(&repo.uploads(), &format!("digest={half}"));
    let put = |repo: &Repo| anyhow::Ok(repo.begin()?.put(&half).path);
    for (method, path) in [("POST", post), ("PUT", put(&repo)?)] {
        drop(Partial::sized(&site.target, method, &path, "", 1000, &bytes[..500])?);
        let chunked = format!("{method} {path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n");
        let mut first = b"3e8\r\n".to_vec();
        first.extend_from_slice(&bytes[..500]);
        drop(Partial::open(&site.target, &chunked, &first)?);
    }
    std::thread::sleep(Duration::from_millis(500));
    eventually(Duration::from_secs(1), || expect::absent(&repo, &repo.blob(&half)))
}
