//! Deletes, and what remains after them (rows 106-112).

use anyhow::ensure;
use harness::client::Request;
use harness::expect::{self, Faults};
use harness::manifest::index;
use harness::site::{Repo, Site, sha256};
use serde_json::json;

use super::referrers::listed;

/// Deletes. If the registry answers 400 or 405, it refuses deletes of this kind, and the row does not apply.
fn deleted(repo: &Repo, path: &str) -> anyhow::Result<()> {
    let answer = repo.delete(path)?;
    if !answer.own && matches!(answer.status, 400 | 405) {
        return Err(expect::not_here(&format!("deletes are refused here with {}", answer.status)));
    }
    expect::status(&answer, &[202])
}

pub fn delete_of_a_tag(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("one")?;
    repo.store("two", &manifest)?;
    deleted(&repo, &repo.manifest("one"))?;
    expect::error(&repo.get(&repo.manifest("one"))?, &[404], &["MANIFEST_UNKNOWN"])?;
    for reference in ["two", &manifest.digest()] {
        expect::pulled(&repo, &repo.manifest(reference), &manifest.digest(), &manifest.bytes)?;
    }
    let tags = expect::tag_names(&repo.get(&repo.tags())?)?;
    ensure!(tags == ["two"], "tags {tags:?}");
    expect::status(&repo.delete(&repo.manifest("two"))?, &[202])?;
    expect::pulled(&repo, &repo.manifest(&manifest.digest()), &manifest.digest(), &manifest.bytes)
}

pub fn delete_by_digest_takes_the_tags(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let subject = repo.push_image("subject")?;
    let artifact = repo.attach("application/vnd.example.edge", &subject.descriptor(), &json!({}))?;
    for tag in ["a1", "a2"] {
        repo.store(tag, &artifact)?;
    }
    let mut faults = Faults::default();
    let before = listed(&repo, &subject.digest(), "")?;
    faults.check("listed", expect::that(before == [artifact.digest()], || format!("referrers {before:?}")));
    deleted(&repo, &repo.manifest(&artifact.digest()))?;
    for reference in ["a1", "a2", &artifact.digest()] {
        faults.check(reference, expect::absent(&repo, &repo.manifest(reference)));
    }
    let tags = expect::tag_names(&repo.get(&repo.tags())?)?;
    faults.check("tags", expect::that(tags == ["subject"], || format!("tags {tags:?}")));
    let after = listed(&repo, &subject.digest(), "")?;
    faults.check("unlisted", expect::that(after.is_empty(), || format!("referrers {after:?}")));
    faults.finish()
}

pub fn delete_of_a_subject(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let subject = repo.push_image("subject")?;
    let artifact = repo.attach("application/vnd.example.edge", &subject.descriptor(), &json!({}))?;
    deleted(&repo, &repo.manifest(&subject.digest()))?;
    expect::absent(&repo, &repo.manifest("subject"))?;
    let still = listed(&repo, &subject.digest(), "")?;
    ensure!(still == [artifact.digest()], "referrers {still:?} after the subject went");
    expect::pulled(&repo, &repo.manifest(&artifact.digest()), &artifact.digest(), &artifact.bytes)?;
    expect::status(&repo.delete(&repo.manifest(&artifact.digest()))?, &[202])?;
    let none = listed(&repo, &subject.digest(), "")?;
    ensure!(none.is_empty(), "referrers {none:?} after they went");
    Ok(())
}

pub fn delete_of_an_index_child(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let child = repo.push_image("child")?;
    let list = index(&[child.descriptor()]);
    repo.store("index", &list)?;
    let answer = repo.delete(&repo.manifest(&child.digest()))?;
    match answer.status {
        202 => expect::absent(&repo, &repo.manifest(&child.digest()))?,
        _ => expect::error(&answer, &[405], &["UNSUPPORTED", "DENIED"])?,
    }
    expect::pulled(&repo, &repo.manifest("index"), &list.digest(), &list.bytes)
}

pub fn delete_of_what_is_not_there(site: &Site) -> anyhow::Result<()> {
    let (repo, nobody) = (site.repo("a"), site.repo("nobody"));
    let manifest = repo.push_image("latest")?;
    let blob = repo.push_blob(&site.noise("blob", 100))?;
    let unknown = sha256(b"nobody pushed this");
    let mut faults = Faults::default();
    deleted(&repo, &repo.manifest("latest"))?;
    repo.store("latest", &manifest)?;
    let mut missing = |path: String, codes: &[&str]| {
        let answer = repo.delete(&path)?;
        // Deletes of blobs may be disabled where deletes of manifests are not.
        if answer.own || !matches!(answer.status, 400 | 405) {
            faults.check(&path, expect::error(&answer, &[404], codes));
        }
        anyhow::Ok(())
    };
    missing(repo.manifest("nope"), &["MANIFEST_UNKNOWN"])?;
    missing(repo.manifest(&unknown), &["MANIFEST_UNKNOWN"])?;
    missing(repo.blob(&unknown), &["BLOB_UNKNOWN"])?;
    missing(nobody.manifest("latest"), &["NAME_UNKNOWN", "MANIFEST_UNKNOWN"])?;
    missing(nobody.manifest(&unknown), &["NAME_UNKNOWN", "MANIFEST_UNKNOWN"])?;
    missing(nobody.blob(&unknown), &["NAME_UNKNOWN", "BLOB_UNKNOWN"])?;
    for path in [repo.manifest(&manifest.digest()), repo.blob(&blob)] {
        deleted(&repo, &path)?;
    }
    missing(repo.manifest(&manifest.digest()), &["MANIFEST_UNKNOWN"])?;
    missing(repo.manifest("latest"), &["MANIFEST_UNKNOWN"])?;
    missing(repo.blob(&blob), &["BLOB_UNKNOWN"])?;
    faults.finish()
}

pub fn delete_of_a_blob_in_use(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let layer = manifest.body()["layers"][0]["digest"].as_str().unwrap_or("").to_owned();
    let answer = repo.delete(&repo.blob(&layer))?;
    if answer.status == 202 {
        expect::absent(&repo, &repo.blob(&layer))?;
    } else {
        expect::error(&answer, &[405], &["UNSUPPORTED"])?;
        ensure!(answer.text().contains(&manifest.digest()), "does not name {}: {}", manifest.digest(), answer.text());
        expect::status(&repo.get(&repo.blob(&layer))?, &[200])?;
        expect::status(&repo.delete(&repo.manifest(&manifest.digest()))?, &[202])?;
        expect::status(&repo.delete(&repo.blob(&layer))?, &[202])?;
    }
    expect::absent(&repo, &repo.blob(&layer))
}

pub fn delete_of_a_blob_mounted_elsewhere(site: &Site) -> anyhow::Result<()> {
    let (source, target) = (site.repo("source"), site.repo("target"));
    let bytes = site.noise("blob", 5000);
    let digest = source.push_blob(&bytes)?;
    let path = format!("{}?mount={digest}&from={}", target.uploads(), source.name);
    let mounted = target.send(&Request::new("POST", path))?;
    if !mounted.own && mounted.status == 202 {
        return Err(expect::not_here("this registry does not mount blobs, which is allowed"));
    }
    mounted.expect(201)?;
    deleted(&source, &source.blob(&digest))?;
    expect::absent(&source, &source.blob(&digest))?;
    expect::pulled(&target, &target.blob(&digest), &digest, &bytes)
}
