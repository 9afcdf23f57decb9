//! Digests in paths and queries: escaped, malformed, of unknown algorithms (rows 11, 15-18).

use anyhow::ensure;
use harness::client::Request;
use harness::expect::{self, Faults};
use harness::manifest::INDEX;
use harness::site::{Site, octets, sha256, with_query};

/// Digests malformed in every way that still has a colon, so that none can be mistaken for a tag.
fn malformed(site: &Site) -> Vec<String> {
    let hex = "0123456789abcdef".repeat(4);
    let all = [
        format!("sha256:{}", hex.to_uppercase()),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{hex}0"),
        format!("sha256:{}g", &hex[1..]),
        format!("sha512:{hex}"),
        format!("blake3:{hex}{hex}"),
        "sha256:".to_owned(),
        format!(":{hex}"),
        format!("SHA256:{hex}"),
    ];
    // To a registry without blake3 it is an unknown algorithm, whose digests may have any length.
    all.into_iter().filter(|digest| site.target.own || !digest.starts_with("blake3:")).collect()
}

/// Well-formed digests of algorithms that no registry has.
fn unknown() -> [String; 3] {
    ["sha384:".to_owned() + &"ab".repeat(48), "foo+bar:AbC_=-9".to_owned(), "md5:".to_owned() + &"0".repeat(32)]
}

pub fn escaped_colon_is_a_colon(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let blob = site.noise("blob", 100);
    let digest = repo.push_blob(&blob)?;
    for escape in ["%3A", "%3a"] {
        expect::pulled(&repo, &repo.blob(&digest.replace(':', escape)), &digest, &blob)?;
        let path = repo.manifest(&manifest.digest().replace(':', escape));
        expect::pulled(&repo, &path, &manifest.digest(), &manifest.bytes)?;
    }
    expect::error(
        &repo.get(&repo.blob(&digest.replace(':', "%253A")))?,
        &[400, 404],
        &["DIGEST_INVALID", "BLOB_UNKNOWN"],
    )
}

pub fn malformed_digest_is_refused_on_reads(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let mut faults = Faults::default();
    let probes = [repo.manifest("latest"), repo.manifest(&manifest.digest()), repo.tags()];
    let no_colon = "sha256".to_owned() + &"0".repeat(64);
    repo.unchanged(&probes, || {
        for digest in malformed(site) {
            faults.check(&digest, refused(site, &repo.manifest(&digest), "MANIFEST_UNKNOWN"));
            faults.check(&digest, refused(site, &repo.blob(&digest), "BLOB_UNKNOWN"));
        }
        faults.check("no colon", refused(site, &repo.blob(&no_colon), "BLOB_UNKNOWN"));
        Ok(())
    })?;
    faults.finish()
}

/// Expects 400 `DIGEST_INVALID` for GET, HEAD and DELETE. The official suites also accept a plain 404.
fn refused(site: &Site, path: &str, unknown: &str) -> anyhow::Result<()> {
    for method in ["GET", "DELETE"] {
        let answer = site.send(&Request::new(method, path))?;
        let code = if answer.status == 400 { "DIGEST_INVALID" } else { unknown };
        expect::error(&answer, &[400, 404], &[code])?;
    }
    expect::status(&site.send(&Request::new("HEAD", path))?, &[400, 404])
}

pub fn malformed_digest_is_refused_on_pushes(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let mut faults = Faults::default();
    for digest in malformed(site) {
        faults.check(&format!("push {digest}"), push_refused(site, &digest, &manifest.bytes));
    }
    faults.finish()
}

/// Expects a refusal by manifest PUT, single POST, and closing PUT, whose session must survive.
fn push_refused(site: &Site, digest: &str, manifest: &[u8]) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let mut session = repo.begin()?;
    session.chunk(0, b"0123456789")?;
    let probes = [repo.manifest("latest"), repo.tags(), session.location.clone()];
    repo.unchanged(&probes, || {
        let put = repo.put_as(&repo.manifest(digest), harness::manifest::IMAGE, manifest)?;
        // Without an algorithm it may also count as an invalid tag.
        let codes: &[&str] =
            if digest.starts_with(':') { &["DIGEST_INVALID", "MANIFEST_INVALID"] } else { &["DIGEST_INVALID"] };
        expect::error(&put, if put.own { &[400] } else { &[400, 404] }, codes)?;
        if !repo.target.own {
            return expect::status(&session.close(digest)?, &[400, 404]);
        }
        let path = with_query(&repo.uploads(), &format!("digest={digest}"));
        let post = repo.send(&octets(Request::new("POST", path)).body(*b"0123456789"))?;
        expect::error(&post, &[400], &["DIGEST_INVALID"])?;
        expect::error(&session.close(digest)?, &[400], &["DIGEST_INVALID"])
    })?;
    session.close(&sha256(b"0123456789"))?.expect(201).map(drop)
}

pub fn unknown_algorithm_is_unknown(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let mut faults = Faults::default();
    for digest in unknown() {
        let blob = repo.get(&repo.blob(&digest))?;
        faults.check(&digest, expect::error(&blob, &[404], &["BLOB_UNKNOWN"]));
        let read = repo.get(&repo.manifest(&digest))?;
        faults.check(&digest, expect::error(&read, &[404], &["MANIFEST_UNKNOWN"]));
        faults.check(&digest, push_refused(site, &digest, &manifest.bytes));
    }
    faults.finish()
}

pub fn referrers_of_a_malformed_digest(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    repo.push_image("latest")?;
    let mut faults = Faults::default();
    for digest in malformed(site).into_iter().chain(["latest".to_owned()]) {
        let answer = repo.get(&repo.referrers(&digest))?;
        faults.check(&digest, expect::error(&answer, &[400], &["DIGEST_INVALID"]));
    }
    // Other registries may call a digest with an unknown algorithm invalid.
    for digest in unknown().into_iter().filter(|_| site.target.own) {
        faults.check(&digest, empty_list(&repo.get(&repo.referrers(&digest))?));
    }
    faults.finish()
}

/// Expects an empty referrers list in the form of an image index.
pub fn empty_list(answer: &harness::client::Response) -> anyhow::Result<()> {
    answer.expect(200)?;
    expect::header(answer, "Content-Type", INDEX)?;
    let body = answer.json()?;
    ensure!(body["schemaVersion"] == 2 && body["mediaType"] == INDEX, "not an index: {body}");
    ensure!(body["manifests"].as_array().is_some_and(Vec::is_empty), "not empty: {body}");
    Ok(())
}
