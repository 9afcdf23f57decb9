//! Pulls: existing and missing content, conditions, HEAD, and clients that leave (rows 22-28, 39).

use std::time::Duration;

use anyhow::ensure;
use harness::client::{Connection, Request, Response};
use harness::expect::{self, Faults};
use harness::manifest::{IMAGE, Manifest};
use harness::partial::{Partial, eventually};
use harness::site::{Site, reading, sha256};

pub fn unknown_manifest_of_a_known_repository(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    repo.push_image("latest")?;
    for reference in ["nope".to_owned(), sha256(b"nobody pushed this")] {
        expect::error(&repo.get(&repo.manifest(&reference))?, &[404], &["MANIFEST_UNKNOWN"])?;
        expect::status(&repo.head(&repo.manifest(&reference))?, &[404])?;
    }
    Ok(())
}

pub fn reads_of_an_unknown_repository(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("never-pushed");
    let digest = sha256(b"nobody pushed this");
    let mut faults = Faults::default();
    for path in [repo.manifest("latest"), repo.manifest(&digest)] {
        faults.check(&path, expect::error(&repo.get(&path)?, &[404], &["NAME_UNKNOWN"]));
        faults.check(&path, expect::status(&repo.head(&path)?, &[404]));
    }
    faults.check("blob", expect::error(&repo.get(&repo.blob(&digest))?, &[404], &["BLOB_UNKNOWN"]));
    if !repo.target.own {
        return faults.finish();
    }
    faults.check("tags", expect::error(&repo.get(&repo.tags())?, &[404], &["NAME_UNKNOWN"]));
    faults.check("tags", expect::status(&repo.head(&repo.tags())?, &[404]));
    faults.check("referrers", super::digests::empty_list(&repo.get(&repo.referrers(&digest))?));
    faults.check("a read makes no repository", expect::status(&repo.get(&repo.tags())?, &[404]));
    faults.finish()
}

pub fn accept_never_changes_a_manifest(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let signed = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let mut faults = Faults::default();
    let odd = [Some("text/html"), Some(signed), Some("*/*;q=0"), Some(";;garbage,,"), Some("")];
    // If no type is acceptable, other registries may answer 406.
    for accept in [None, Some("*/*")].into_iter().chain(odd.into_iter().filter(|_| site.target.own)) {
        let mut request = Request::get(repo.manifest("latest"));
        if let Some(accept) = accept {
            request = request.header("Accept", accept);
        }
        faults.check(&format!("Accept {accept:?}"), stored(&repo.send(&request)?, &manifest));
    }
    faults.finish()
}

fn stored(answer: &Response, manifest: &Manifest) -> anyhow::Result<()> {
    answer.expect(200)?;
    expect::header(answer, "Content-Type", IMAGE)?;
    expect::recommended(answer, "Docker-Content-Digest", &manifest.digest())?;
    expect::recommended(answer, "Content-Length", &manifest.bytes.len().to_string())?;
    ensure!(answer.body == manifest.bytes, "other bytes than were pushed");
    Ok(())
}

pub fn matching_etag_is_304(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let mut faults = Faults::default();
    for path in [repo.manifest("latest"), repo.manifest(&manifest.digest())] {
        faults.check(&path, conditional(site, &path, &manifest.digest()));
    }
    faults.finish()
}

/// Expects `ETag` to be the quoted digest, and `If-None-Match` with it to be answered 304 without a body.
pub fn conditional(site: &Site, path: &str, digest: &str) -> anyhow::Result<()> {
    let etag = format!("\"{digest}\"");
    expect::header(&site.send(&reading("GET", path))?, "ETag", &etag)?;
    let other = "\"sha256:0000\"";
    let matching = [etag.clone(), format!("W/{etag}"), format!("{other}, {etag}"), "*".to_owned()];
    for method in ["GET", "HEAD"] {
        for value in &matching {
            // On a kept-alive connection, a body after a 304 would be taken for the next answer.
            let mut connection = Connection::open(&site.target)?;
            let answer = connection.send(&reading(method, path).header("If-None-Match", value))?;
            ensure!(answer.status == 304, "{method} with If-None-Match: {value} gives {}", answer.status);
            expect::header(&answer, "ETag", &etag)?;
            expect::status(&connection.send(&reading("GET", path))?, &[200])?;
        }
        let answer = site.send(&reading(method, path).header("If-None-Match", other))?;
        expect::status(&answer, &[200])?;
    }
    Ok(())
}

pub fn head_is_get_without_body(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let digest = repo.push_blob(&site.noise("blob", 3000))?;
    let nobody = sha256(b"nobody pushed this");
    let paths = [
        "/v2/".to_owned(),
        repo.manifest("latest"),
        repo.manifest(&manifest.digest()),
        repo.blob(&digest),
        repo.tags(),
        repo.referrers(&manifest.digest()),
        repo.manifest("nope"),
        repo.blob(&nobody),
        repo.blob("sha256:short"),
        site.repo("none").tags(),
        "/v2/nothing-here".to_owned(),
    ];
    let mut faults = Faults::default();
    for path in &paths {
        faults.check(path, same_headers(site, path));
    }
    faults.finish()
}

fn same_headers(site: &Site, path: &str) -> anyhow::Result<()> {
    // On one connection, a body after the HEAD would be read as the answer to the GET.
    let mut connection = Connection::open(&site.target)?;
    let head = connection.send(&reading("HEAD", path))?;
    let get = connection.send(&reading("GET", path))?;
    ensure!(head.status == get.status, "HEAD {} but GET {}", head.status, get.status);
    let names = ["Content-Type", "Content-Length", "Docker-Content-Digest", "ETag", "Accept-Ranges", "Link"];
    for name in names.iter().chain(&["Docker-Distribution-Api-Version", "OCI-Filters-Applied", "Allow"]) {
        // It may be omitted if only the content would tell it.
        if *name == "Content-Length" && !head.own && head.header(name).is_none() {
            continue;
        }
        ensure!(
            head.header(name) == get.header(name),
            "{name}: HEAD {:?}, GET {:?}",
            head.header(name),
            get.header(name)
        );
    }
    Ok(())
}

pub fn a_blob_is_no_manifest(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    repo.push_image("latest")?;
    let digest = repo.push_blob(&site.noise("blob", 100))?;
    expect::error(&repo.get(&repo.manifest(&digest))?, &[404], &["MANIFEST_UNKNOWN"])?;
    expect::status(&repo.head(&repo.manifest(&digest))?, &[404])
}

pub fn a_manifest_is_no_blob(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    expect::error(&repo.get(&repo.blob(&manifest.digest()))?, &[404], &["BLOB_UNKNOWN"])?;
    expect::status(&repo.head(&repo.blob(&manifest.digest()))?, &[404])
}

pub fn clients_that_leave_cost_nothing(site: &Site) -> anyhow::Result<()> {
    const PULLS: usize = 64;
    let repo = site.repo("a");
    let bytes = site.noise("blob", 16 << 20);
    let digest = repo.push_blob(&bytes)?;
    for _ in 0..PULLS {
        let mut pull = Partial::open(&site.target, &format!("GET {} HTTP/1.1\r\n", repo.blob(&digest)), b"")?;
        ensure!(pull.raw(Duration::from_secs(10))?.starts_with("HTTP/1.1 200"), "pull did not begin");
    }
    eventually(Duration::from_secs(5), || expect::pulled(&repo, &repo.blob(&digest), &digest, &bytes))
}
