//! Rows that need a server with small limits or other settings (76, 82, 91, 113, 116, 128).

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::{Connection, Request};
use harness::expect::{self, Faults};
use harness::manifest::IMAGE;
use harness::partial::Partial;
use harness::site::{Repo, STYLES, Site, Style, sha256, with_query};
use serde_json::json;

use super::manifests::accepted;
use super::own::{Workshop, site};
use super::references::manifests_with_missing_references;
use super::tags::{follow, is_page, tagged};

pub fn blobs_over_the_limit(workshop: &Workshop) -> anyhow::Result<()> {
    const LIMIT: usize = 1 << 20;
    // A manifest is also a blob, so its limit must not be higher.
    let settings = [("SKYBERTH_REGISTRY_MAX_BLOB_SIZE", "1048576"), ("SKYBERTH_REGISTRY_MAX_MANIFEST_SIZE", "65536")];
    let server = workshop.start("blob-limit", &settings)?;
    let site = site(&server, "76");
    let repo = site.repo("a");
    let fits = site.noise("fits", LIMIT);
    expect::pulled(&repo, &repo.blob(&repo.push_blob(&fits)?), &sha256(&fits), &fits)?;
    let over = site.noise("over", 2 * LIMIT);
    let digest = sha256(&over);
    let mut faults = Faults::default();
    for style in [Style::Post, Style::PostPut] {
        let answer = repo.push_blob_as(style, &digest, &over)?;
        faults.check(&format!("{style:?}"), expect::error(&answer, &[413], &["SIZE_INVALID"]));
    }
    let session = repo.begin()?;
    let answer = session.send(&session.patch().chunked(over.clone(), 64 * 1024))?;
    faults.check("streamed", expect::error(&answer, &[413], &["SIZE_INVALID"]));
    let mut session = repo.begin()?;
    session.chunk(0, &over[..LIMIT])?;
    let answer = session.send(&session.ranged(LIMIT, &over[LIMIT..=LIMIT]))?;
    faults.check("one byte too much in a later chunk", expect::error(&answer, &[413], &["SIZE_INVALID"]));
    faults.check("nothing stored", expect::absent(&repo, &repo.blob(&digest)));
    ensure!(STYLES.len() == 5, "a new style needs a case here");
    faults.finish()
}

pub fn manifests_over_the_limit(workshop: &Workshop) -> anyhow::Result<()> {
    const LIMIT: usize = 64 << 10;
    let server = workshop.start("manifest-limit", &[("SKYBERTH_REGISTRY_MAX_MANIFEST_SIZE", "65536")])?;
    let repo = site(&server, "82").repo("a");
    let base = repo.image("base")?;
    let of = |size: usize| {
        let empty = base.with("annotations", json!({"pad": ""})).bytes.len();
        base.with("annotations", json!({"pad": "x".repeat(size - empty)}))
    };
    let mut faults = Faults::default();
    faults.check("at the limit", accepted(&repo, "fits", &of(LIMIT)));
    let over = of(LIMIT + 1);
    let put = Request::new("PUT", repo.manifest("over")).header("Content-Type", IMAGE);
    for (what, request) in [
        ("with a length", put.clone().body(over.bytes.clone())),
        ("without a length", put.clone().chunked(over.bytes.clone(), 5000)),
        ("16 MiB without a length", put.chunked(vec![b' '; 16 << 20], 60_000)),
    ] {
        let answer = Connection::open(&server.target())?.send(&request);
        faults.check(what, answer.and_then(|answer| expect::error(&answer, &[413], &["SIZE_INVALID"])));
    }
    let fields = format!("Content-Type: {IMAGE}");
    let mut announced = Partial::sized(&server.target(), "PUT", &repo.manifest("over"), &fields, 1 << 30, b"{")?;
    announced.patience(Duration::from_secs(10))?;
    let answer = announced.answer().context("1 GiB announced: no answer before the body");
    faults.check("announced", answer.and_then(|answer| expect::error(&answer, &[413], &["SIZE_INVALID"])));
    faults.check("nothing stored", expect::absent(&repo, &repo.manifest("over")));
    faults.finish()
}

pub fn sparse_manifests(workshop: &Workshop) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for checks in ["false", "true"] {
        let name = format!("reference-checks-{checks}");
        let server = workshop.start(&name, &[("SKYBERTH_REGISTRY_REFERENCE_CHECKS", checks)])?;
        let site = site(&server, "91");
        let repo = site.repo("a");
        let on = repo.checks_references()?;
        faults.check(&name, expect::that(on.to_string() == checks, || "the setting has no effect".to_owned()));
        faults.check(&name, super::references::missing_references(&site));
        if checks == "false" {
            faults.check("warning", sparse_pushes_are_warned_of(&repo));
        }
    }
    faults.finish()
}

/// The spec allows only `299 - "text"`, up to 4096 bytes.
fn sparse_pushes_are_warned_of(repo: &Repo) -> anyhow::Result<()> {
    for (what, manifest, _) in manifests_with_missing_references(repo)? {
        let answer = repo.put("sparse", &manifest)?;
        let warning = answer.need("Warning").context(what)?;
        let well_formed = warning.starts_with("299 - \"") && warning.ends_with('"') && warning.len() <= 4096;
        expect::that(well_formed, || format!("{what}: Warning is {warning:?}"))?;
    }
    let whole = repo.push_image("whole")?;
    expect::no_header(&repo.put("whole", &whole)?, "Warning")
}

pub fn deletes_disabled(workshop: &Workshop) -> anyhow::Result<()> {
    let server = workshop.start("no-deletes", &[("SKYBERTH_REGISTRY_DELETE", "false")])?;
    let repo = site(&server, "113").repo("a");
    let manifest = repo.push_image("latest")?;
    let blob = repo.push_blob(b"unreferenced")?;
    let paths = [repo.manifest("latest"), repo.manifest(&manifest.digest()), repo.blob(&blob)];
    let mut faults = Faults::default();
    repo.unchanged(&[paths.to_vec(), vec![repo.tags()]].concat(), || {
        for path in &paths {
            faults.check(path, expect::error(&repo.delete(path)?, &[400, 405], &["UNSUPPORTED"]));
        }
        Ok(())
    })?;
    let session = repo.begin()?;
    faults.check("cancel is no delete", expect::status(&repo.delete(&session.location)?, &[204]));
    faults.finish()
}

pub fn page_size_is_capped(workshop: &Workshop) -> anyhow::Result<()> {
    let server = workshop.start("page-size", &[("SKYBERTH_REGISTRY_PAGE_SIZE", "3")])?;
    let repo = tagged(&site(&server, "116"), &["a", "b", "c", "d", "e", "f", "g"])?;
    let mut faults = Faults::default();
    faults.check("over the cap", is_page(&repo, "n=100", &["a", "b", "c"], true));
    faults.check("i64", is_page(&repo, "n=9223372036854775807&last=c", &["d", "e", "f"], true));
    faults.check("at the cap", is_page(&repo, "n=3&last=d", &["e", "f", "g"], false));
    faults.check("under the cap", is_page(&repo, "n=2", &["a", "b"], true));
    let all = follow(&repo, "n=100")?;
    faults.check("all pages", expect::that(all == ["a", "b", "c", "d", "e", "f", "g"], || format!("{all:?}")));
    faults.finish()
}

pub fn slow_clients(workshop: &Workshop) -> anyhow::Result<()> {
    let settings = [("SKYBERTH_SERVER_HEADER_TIMEOUT", "2s"), ("SKYBERTH_SERVER_IDLE_BODY_TIMEOUT", "2s")];
    let server = workshop.start("slow-clients", &settings)?;
    let site = site(&server, "128");
    let mut faults = Faults::default();
    faults.check("half a head", cut_in_time(&site, "GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX-Slow"));
    faults.check("half a line", cut_in_time(&site, "GET /v2/"));
    faults.check("nothing at all", cut_in_time(&site, ""));
    let session = site.repo("a").begin()?;
    let started = Instant::now();
    let mut idle = Partial::sized(&site.target, "PATCH", &session.location, "", 1000, b"0123456789")?;
    faults
        .check("idle body", idle.until_closed(Duration::from_secs(15)).and_then(|said| is_408_or_cut(&said, started)));
    faults.check("idle body", session.holds(0));
    faults.check("slow but moving", slow_but_moving(&site));
    faults.finish()
}

fn cut_in_time(site: &Site, start: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let started = Instant::now();
    let mut connection = Partial::bare(&site.target)?;
    connection.stream().write_all(start.as_bytes())?;
    let said = connection.until_closed(Duration::from_secs(15))?;
    is_408_or_cut(&said, started)
}

fn is_408_or_cut(said: &str, started: Instant) -> anyhow::Result<()> {
    let took = started.elapsed();
    ensure!(took > Duration::from_millis(1500), "cut after {took:?} already");
    ensure!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "neither 408 nor cut: {said:?}");
    Ok(())
}

fn slow_but_moving(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let put = repo.begin()?.put(&sha256(b"slow moving")).path;
    let mut slow = Partial::sized(&site.target, "PUT", &put, "", 11, b"")?;
    for byte in b"slow moving" {
        std::thread::sleep(Duration::from_millis(500));
        slow.more(&[*byte]).context("a slow upload was cut")?;
    }
    expect::status(&slow.answer()?, &[201])
}

pub fn catalog_lists_what_holds_a_manifest(workshop: &Workshop) -> anyhow::Result<()> {
    let server = workshop.start("catalog", &[])?;
    let site = site(&server, "B11");
    let ask = || expect::strings(&site.send(&Request::get("/v2/_catalog"))?.expect(200)?.json()?, "repositories");
    ensure!(ask()?.is_empty(), "a fresh server lists {:?}", ask()?);
    let repo = site.repo_named("only/a-blob");
    repo.push_blob(b"only a blob")?;
    ensure!(ask()?.is_empty(), "a blob alone makes {:?}", ask()?);
    ensure!(expect::tag_names(&repo.get(&repo.tags())?)?.is_empty(), "tags of a repository with only a blob");
    let manifest = repo.push_image("latest")?;
    ensure!(ask()? == ["only/a-blob"], "with an image {:?}", ask()?);
    expect::status(&repo.delete(&repo.manifest(&manifest.digest()))?, &[202])?;
    ensure!(ask()?.is_empty(), "after its last manifest went {:?}", ask()?);
    ensure!(expect::tag_names(&repo.get(&repo.tags())?)?.is_empty(), "tags after the last manifest went");
    Ok(())
}

/// Beyond row 76: an announced length over the limit is refused before the body is read.
pub fn an_announced_length_over_the_limit(workshop: &Workshop) -> anyhow::Result<()> {
    let settings = [("SKYBERTH_REGISTRY_MAX_BLOB_SIZE", "1048576"), ("SKYBERTH_REGISTRY_MAX_MANIFEST_SIZE", "65536")];
    let server = workshop.start("announced", &settings)?;
    let repo = site(&server, "B12").repo("a");
    let path = with_query(&repo.uploads(), &format!("digest={}", sha256(b"few")));
    let mut announced = Partial::sized(&server.target(), "POST", &path, "", 1 << 40, b"few")?;
    announced.patience(Duration::from_secs(10))?;
    let answer = announced.answer().context("1 TiB announced: no answer before the body")?;
    expect::error(&answer, &[413], &["SIZE_INVALID"])
}
