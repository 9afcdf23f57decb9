//! The closing PUT of an upload (rows 66-70, B13).

use std::time::Duration;

use harness::client::{Connection, Request};
use harness::expect::{self, Faults};
use harness::noise::noise;
use harness::partial::eventually;
use harness::site::{Repo, Session, Site, digest, octets, sha256, with_query};

use super::chunks::stands;
use super::own::{Workshop, site};

const TEN: &[u8] = b"0123456789";

fn ten(repo: &Repo) -> anyhow::Result<Session> {
    let mut session = repo.begin()?;
    session.chunk(0, TEN)?;
    Ok(session)
}

pub fn close_needs_exactly_one_digest(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let session = ten(&repo)?;
    let (one, other) = (sha256(TEN), sha256(b"other"));
    let mut faults = Faults::default();
    for query in [String::new(), "digest=".to_owned(), format!("digest={one}&digest={other}")] {
        let path = if query.is_empty() { session.location.clone() } else { with_query(&session.location, &query) };
        let answer = session.send(&octets(Request::new("PUT", path)))?;
        faults.check(&query, expect::error(&answer, &[400], &["DIGEST_INVALID"]));
        faults.check(&query, session.holds(10));
    }
    faults.check("close", session.close(&one).and_then(|answer| expect::pushed(&repo, &answer, &one, TEN)));
    faults.finish()
}

pub fn digest_mismatch_discards_the_session(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for algorithm in site.algorithms() {
        let repo = site.repo(algorithm);
        let session = ten(&repo)?;
        let claimed = digest(algorithm, b"something else");
        faults.check(algorithm, expect::error(&session.close(&claimed)?, &[400], &["DIGEST_INVALID"]));
        // Other registries may keep the session for a retry.
        if site.target.own {
            faults.check(algorithm, session.gone());
        }
        for absent in [claimed, digest(algorithm, TEN)] {
            faults.check(algorithm, expect::absent(&repo, &repo.blob(&absent)));
        }
    }
    faults.finish()
}

pub fn last_chunk_out_of_order(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let session = ten(&repo)?;
    let want = sha256(b"0123456789abcde");
    let mut faults = Faults::default();
    for (what, start) in [("gap", 11), ("overlap", 5), ("repeat", 0)] {
        let answer = session.close_range(&want, start, b"abcde")?;
        faults.check(what, stands(&answer, 416, "BLOB_UPLOAD_INVALID", 10));
        faults.check(what, session.holds(10));
    }
    let answer = session.close_range(&want, 10, b"abcde")?;
    faults.check("close", expect::pushed(&repo, &answer, &want, b"0123456789abcde"));
    faults.finish()
}

pub fn last_bytes_without_a_range(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let want = sha256(b"0123456789abcde");
    for request in [ten(&repo)?.put(&want).body(*b"abcde"), ten(&repo)?.put(&want).chunked(*b"abcde", 2)] {
        expect::pushed(&repo, &repo.send(&request)?, &want, b"0123456789abcde")?;
    }
    Ok(())
}

pub fn algorithm_named_only_at_the_close(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for algorithm in ["sha512", "blake3"] {
        let repo = site.repo(algorithm);
        let bytes = site.noise(algorithm, 100_000);
        let mut session = repo.begin()?;
        session.chunk(0, &bytes[..40_000])?;
        session.stream(&bytes[40_000..90_000])?;
        let want = digest(algorithm, &bytes);
        let answer = session.close_range(&want, 90_000, &bytes[90_000..])?;
        faults.check(algorithm, expect::pushed(&repo, &answer, &want, &bytes));
    }
    faults.finish()
}

/// Number of clients that leave, so that the server notices at various stages.
const LEAVING: usize = 6;

pub fn whoever_sent_the_last_byte_may_leave(workshop: &Workshop) -> anyhow::Result<()> {
    let server = workshop.start("leaving", &[])?;
    let repo = site(&server, "B13").repo("a");
    let mut faults = Faults::default();
    for number in 0..LEAVING {
        // In one piece with the head, or in many.
        let bytes = noise(&format!("leaving {number}"), if number % 2 == 0 { 2000 } else { 2_000_000 });
        let want = sha256(&bytes);
        let filled = repo.begin().and_then(|mut session| session.stream(&bytes).map(|()| session))?;
        let post = octets(Request::new("POST", with_query(&repo.uploads(), &format!("digest={want}"))));
        let cases = [
            ("nothing", filled.put(&want)),
            ("the rest", repo.begin()?.put(&want).body(bytes.clone())),
            ("the rest in chunked coding", repo.begin()?.put(&want).chunked(bytes.clone(), 8000)),
            ("all of it", post.body(bytes.clone())),
        ];
        for (what, request) in cases {
            Connection::open(&server.target())?.write(&request)?;
            faults.check(
                what,
                eventually(Duration::from_mins(1), || repo.head(&repo.blob(&want))?.expect(200).map(drop)),
            );
            if request.method == "PUT" {
                faults.check(what, expect::pushed(&repo, &repo.send(&request)?, &want, &bytes));
            }
            repo.send(&Request::new("DELETE", repo.blob(&want)))?.expect(202)?;
        }
    }
    faults.finish()
}
