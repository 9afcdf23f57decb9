//! HTTP itself: methods, paths, limits and framing (rows 2, 80, 81, 124-127, 129).

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use harness::client::{Connection, Request, Response};
use harness::expect::{self, Faults};
use harness::partial::{Partial, eventually};
use harness::site::{Site, octets, sha256, with_query};

const PATIENCE: Duration = Duration::from_secs(15);

pub fn base_with_and_without_slash(site: &Site) -> anyhow::Result<()> {
    for path in ["/v2/", "/v2"] {
        let answer = site.send(&Request::get(path))?;
        ensure!(answer.status == 200, "GET {path} gives {}", answer.status);
        expect::header(&answer, "Docker-Distribution-Api-Version", "registry/2.0")?;
    }
    Ok(())
}

pub fn expect_100_continue(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let session = repo.begin()?;
    let put = session.put(&sha256(b"0123456789")).path;
    let expecting = "Expect: 100-continue";
    let mut good = Partial::sized(&site.target, "PUT", &put, expecting, 10, b"")?;
    let first = good.raw(PATIENCE).context("no 100 for a good request")?;
    ensure!(first.starts_with("HTTP/1.1 100"), "first came {first:?}");
    good.more(b"0123456789")?;
    expect::status(&good.answer()?, &[201])?;
    let unknown = repo.path("blobs/uploads/00000000-0000-0000-0000-000000000000");
    let bad = [
        ("PUT", with_query(&unknown, &format!("digest={}", sha256(b"0123456789"))), 404),
        ("PATCH", unknown, 404),
        ("PUT", with_query(&repo.begin()?.location, "digest=sha256:short"), 400),
        ("POST", with_query(&repo.uploads(), "digest=sha256:short"), 400),
        ("PUT", repo.manifest("sha256:short"), 400),
    ];
    let mut faults = Faults::default();
    for (method, path, status) in bad {
        let mut request = Partial::sized(&site.target, method, &path, expecting, 10, b"")?;
        let said = request.raw(PATIENCE)?;
        let want = format!("HTTP/1.1 {status}");
        // Both are right: to ask for the body, and to refuse at once.
        let others = ["HTTP/1.1 100", "HTTP/1.1 4"];
        let right = said.starts_with(&want) || (!site.target.own && others.iter().any(|start| said.starts_with(start)));
        faults.check(&path, expect::that(right, || format!("{method} said {:?}", said.lines().next())));
    }
    faults.finish()
}

pub fn errors_while_the_body_comes_are_seen(site: &Site) -> anyhow::Result<()> {
    const ROUNDS: usize = 5;
    let repo = site.repo("a");
    let put = repo.path(&format!("blobs/uploads/00000000-0000-0000-0000-000000000000?digest={}", sha256(b"x")));
    let mut faults = Faults::default();
    for size in [100_000, 16 << 20] {
        for _ in 0..ROUNDS {
            let mut connection = Connection::open(&site.target)?;
            let answer = connection.send(&octets(Request::new("PUT", &put)).body(vec![7; size]));
            let seen = answer.context("the answer was lost").and_then(|answer| {
                expect::error(&answer, &[404], &["BLOB_UPLOAD_UNKNOWN"])?;
                let closes = expect::list(&answer, "Connection").iter().any(|v| v.eq_ignore_ascii_case("close"));
                if closes {
                    return Ok(());
                }
                let next = connection.send(&Request::get("/v2/")).context("kept open, but not usable")?;
                expect::status(&next, &[200])
            });
            faults.check(&format!("{size} bytes"), seen);
        }
    }
    faults.finish()
}

pub fn unknown_parameters_are_ignored(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let digest = repo.push_blob(b"{}")?;
    let paths = [repo.manifest("latest"), repo.blob(&digest), repo.tags(), repo.referrers(&manifest.digest())];
    let mut faults = Faults::default();
    for path in paths {
        let plain = repo.get(&path)?;
        if !plain.own && plain.status == 404 {
            continue;
        }
        for query in ["x=y&x=z&&=", "ns=registry.example.com", "ns="] {
            let answer = repo.get(&with_query(&path, query))?;
            faults.check(&path, expect::that(answer.body == plain.body, || format!("?{query} changes the answer")));
            if let Some(namespace) = answer.header("OCI-Namespace") {
                faults.check(
                    &path,
                    expect::that(query == format!("ns={namespace}"), || format!("OCI-Namespace {namespace}")),
                );
            }
        }
    }
    let pushed = repo.put_as(
        &with_query(&repo.manifest("pushed"), "ns=registry.example.com"),
        &manifest.media_type,
        &manifest.bytes,
    )?;
    faults.check("push with ns", expect::pushed(&repo, &pushed, &manifest.digest(), &manifest.bytes));
    faults.finish()
}

pub fn methods_that_a_route_lacks(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    repo.push_image("latest")?;
    let digest = repo.push_blob(b"{}")?;
    let cases = [
        ("DELETE", "/v2/".to_owned(), "GET"),
        ("POST", repo.manifest("latest"), "PUT"),
        ("PATCH", repo.manifest("latest"), "GET"),
        ("PUT", repo.blob(&digest), "GET"),
        ("POST", repo.blob(&digest), "GET"),
        ("DELETE", repo.tags(), "GET"),
        ("POST", repo.tags(), "GET"),
        ("POST", repo.referrers(&digest), "GET"),
        ("PUT", repo.uploads(), "POST"),
        ("POST", repo.begin()?.location, "PATCH"),
    ];
    let mut faults = Faults::default();
    for (method, path, allowed) in cases {
        let answer = repo.send(&Request::new(method, path.clone()))?;
        faults.check(&format!("{method} {path}"), expect::error(&answer, &[405], &["UNSUPPORTED"]));
        let allow = expect::list(&answer, "Allow");
        let listed = allow.iter().any(|one| one == allowed) && !allow.iter().any(|one| one == method);
        faults.check(&format!("{method} {path}"), expect::that(listed, || format!("Allow lists {allow:?}")));
    }
    faults.finish()
}

pub fn unknown_paths(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    repo.push_image("latest")?;
    let mut faults = Faults::default();
    let paths = ["/v2/nothing", "/v2/a/b/c", "/v2/a/tags", "/v2/a/tags/list/more", "/v2/a/blobs", "/v2/a/manifests"];
    for path in paths {
        let answer = site.send(&Request::get(path))?;
        faults.check(path, expect::status(&answer, &[404]).and_then(|()| expect::codes(&answer).map(drop)));
    }
    // Nothing after the last slash: this may count as a malformed digest or tag, or as an unknown path.
    for path in [repo.path("blobs/"), repo.path("manifests/")] {
        let answer = site.send(&Request::get(path.clone()))?;
        faults.check(&path, expect::status(&answer, &[400, 404]).and_then(|()| expect::codes(&answer).map(drop)));
    }
    faults.finish()
}

pub fn heads_over_the_limits(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    let long = format!("/v2/?x={}", "a".repeat(16 * 1024));
    faults.check("URI", site.send(&Request::get(long)).and_then(|answer| expect::status(&answer, &[414])));
    faults.check("headers", some_size_of_head_is_refused(site));
    faults.check("afterwards", expect::status(&site.send(&Request::get("/v2/"))?, &[200]));
    faults.finish()
}

/// Doubles the head from 16 KiB on. The first size refused must be answered 431, and 4 MiB must be refused.
fn some_size_of_head_is_refused(site: &Site) -> anyhow::Result<()> {
    let mut length: usize = 16 * 1024;
    while length <= 4 << 20 {
        let filler = "b".repeat(length / 16);
        let fields: Vec<_> = (0..16).map(|number| format!("X-Filler-{number}: {filler}\r\n")).collect();
        let request = Partial::bare(&site.target)?;
        let head = format!("GET /v2/ HTTP/1.1\r\nHost: {}\r\n{}\r\n", site.target.authority(), fields.concat());
        // The server may answer and close before it has read everything.
        let _ = std::io::Write::write_all(&mut request.stream(), head.as_bytes());
        let answer = read(request).with_context(|| format!("a head of {length} bytes"))?;
        // A registry may ask for a login before it looks at the rest.
        if ![200, 401].contains(&answer.status) {
            return expect::status(&answer, &[431]).with_context(|| format!("a head of {length} bytes"));
        }
        length *= 2;
    }
    bail!("a head of 4 MiB is taken")
}

fn read(mut request: Partial) -> anyhow::Result<Response> {
    request.patience(PATIENCE)?;
    request.answer()
}

/// A request hidden behind a body of disputed length. Its answer would show that it was accepted as a request.
fn smuggled(site: &Site) -> String {
    format!("GET /v2/{}/tags/list HTTP/1.1\r\nHost: localhost\r\n\r\n", site.word())
}

fn answers(text: &str) -> usize {
    text.matches("HTTP/1.1 ").count()
}

pub fn framing_in_dispute_ends_the_connection(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let mut faults = Faults::default();
    let session = repo.begin()?;
    let head = format!(
        "PATCH {} HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\nContent-Type: application/octet-stream\r\n",
        session.location
    );
    let body = format!("5\r\nabcde\r\n0\r\n\r\n{}", smuggled(site));
    let both = Partial::open(&site.target, &head, body.as_bytes())?.until_closed(PATIENCE);
    faults.check("both lengths", both.and_then(|said| both_lengths(&session, &said)));
    for bad in [
        "zz\r\nabcde\r\n",
        "-5\r\nabcde\r\n",
        "fffffffffffffffff\r\nabcde\r\n",
        "5 5\r\nabcde\r\n",
        "5\r\nabcdeXX0\r\n",
    ] {
        let session = repo.begin()?;
        let head = format!("PATCH {} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", session.location);
        let body = format!("{bad}0\r\n\r\n{}", smuggled(site));
        let said = Partial::open(&site.target, &head, body.as_bytes())?.until_closed(PATIENCE);
        // The refusal is recommended. Not treating bytes after it as a request is required.
        let judged = |said: String| {
            if site.target.own { refused_or_cut(&said) } else { expect::that(answers(&said) <= 1, || said.clone()) }
        };
        faults.check(bad, said.and_then(judged));
        faults.check(bad, eventually(Duration::from_secs(2), || session.holds(0)));
    }
    faults.finish()
}

/// Expects that the chunked body counted, or that the request was refused. In either case nothing after it may be
/// answered.
fn both_lengths(session: &harness::site::Session, said: &str) -> anyhow::Result<()> {
    ensure!(answers(said) <= 1, "a smuggled request was answered: {said:?}");
    if said.starts_with("HTTP/1.1 202") { session.holds(5) } else { refused_or_cut(said) }
}

fn refused_or_cut(said: &str) -> anyhow::Result<()> {
    ensure!(said.is_empty() || said.starts_with("HTTP/1.1 400"), "neither 400 nor cut: {said:?}");
    ensure!(answers(said) <= 1, "a smuggled request was answered: {said:?}");
    Ok(())
}
