//! Repository names: valid ones, invalid ones, and names that look like routes (rows 7-10, 12-14).

use std::time::Duration;

use anyhow::ensure;
use harness::client::Request;
use harness::expect::{self, Faults};
use harness::manifest::{IMAGE, index};
use harness::partial::Partial;
use harness::site::{Repo, Site};

/// Expects every method to refuse an invalid name, with either of the two statuses.
fn refused_everywhere(site: &Site, name: &str) -> anyhow::Result<()> {
    let repo = site.repo_named(name);
    for path in [repo.manifest("latest"), repo.tags()] {
        expect::error(&repo.get(&path)?, &[400, 404], &["NAME_INVALID"])?;
        expect::status(&repo.head(&path)?, &[400, 404])?;
    }
    let begun = repo.send(&Request::new("POST", repo.uploads()))?;
    expect::error(&begun, &[400, 404], &["NAME_INVALID"])?;
    let put = repo.put_as(&repo.manifest("latest"), IMAGE, &index(&[]).bytes)?;
    expect::error(&put, &[400, 404], &["NAME_INVALID"])?;
    expect::error(&repo.delete(&repo.manifest("latest"))?, &[400, 404], &["NAME_INVALID"])
}

fn all_refused(site: &Site, names: &[String]) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for name in names {
        faults.check(name, refused_everywhere(site, name));
    }
    faults.finish()
}

pub fn invalid_names_are_refused(site: &Site) -> anyhow::Result<()> {
    let bad = ["Upper", "-lead", "trail-", "a___b", "a._b", "a%20b", "a%40b", "%C3%A9", ".dot", "trail.", "a..b"];
    all_refused(site, &bad.map(|part| format!("edge/{part}/x")))
}

pub fn names_over_255_are_refused(site: &Site) -> anyhow::Result<()> {
    all_refused(site, &[format!("edge/{}", "a".repeat(251)), "abc/".repeat(64) + "a"])?;
    let word = site.word();
    let long = site.repo_named(&format!("{word}/{}", "b".repeat(199 - word.len())));
    long.push_image("latest")?;
    expect::status(&long.get(&long.tags())?, &[200])
}

pub fn names_never_climb(site: &Site) -> anyhow::Result<()> {
    let word = site.word();
    let real = site.repo_named(&format!("{word}/real"));
    real.push_image("latest")?;
    let bad = [
        format!("{word}/zz/../real"),
        format!("{word}/./real"),
        format!("{word}//real"),
        format!("/{word}/real"),
        format!("{word}/real/"),
        format!("{word}/zz/%2e%2e/real"),
        format!("{word}/%2e%2e/{word}/real"),
        format!("{word}/re%00al"),
        format!("{word}%5Creal"),
        format!("{word}\\real"),
        "../../etc".to_owned(),
    ];
    let mut faults = Faults::default();
    for name in &bad {
        faults.check(name, refused_everywhere(site, name));
    }
    for raw in ["\u{1}", "\0", "\u{7f}"] {
        faults.check(&format!("{raw:?}"), raw_byte_is_400(site, &format!("/v2/{word}/re{raw}al/tags/list")));
    }
    faults.check("the real one is untouched", expect::status(&real.get(&real.manifest("latest"))?, &[200]));
    faults.finish()
}

fn raw_byte_is_400(site: &Site, path: &str) -> anyhow::Result<()> {
    let mut request = Partial::open(&site.target, &format!("GET {path} HTTP/1.1\r\n"), b"")?;
    request.patience(Duration::from_secs(10))?;
    expect::status(&request.answer()?, &[400])
}

/// Portainer sends it. An encoded slash is part of the name, decoded once, and never part of the path's structure.
pub fn escaped_slash_is_part_of_a_name(site: &Site) -> anyhow::Result<()> {
    let word = site.word();
    let real = site.repo_named(&format!("{word}/real"));
    let manifest = real.push_image("latest")?;
    let mut faults = Faults::default();
    for name in [format!("{word}%2Freal"), format!("{word}%2freal")] {
        let escaped = site.repo_named(&name);
        let pulled = expect::pulled(&escaped, &escaped.manifest("latest"), &manifest.digest(), &manifest.bytes);
        faults.check(&name, pulled);
        let answer = escaped.get(&escaped.tags())?;
        faults.check(&name, expect::that(answer.json()?["name"] == real.name.as_str(), || answer.text()));
        let answer = site.send(&Request::get(format!("/v2/{name}%2Ftags%2Flist")))?;
        faults.check("structure", expect::status(&answer, &[404]));
    }
    let refused = ["%252Freal", "%2F..%2Freal", "%2F%2e%2e%2freal", "%2F", "%2F%2Freal", "%25"];
    faults.check("refused", all_refused(site, &refused.map(|tail| format!("{word}{tail}"))));
    faults.finish()
}

pub fn names_that_look_like_routes(site: &Site) -> anyhow::Result<()> {
    let word = site.word();
    let mut faults = Faults::default();
    for tail in ["manifests/b", "blobs/uploads", "tags/list", "referrers/x", "manifests", "blobs"] {
        faults.check(tail, works(&site.repo_named(&format!("{word}/{tail}"))));
    }
    faults.finish()
}

/// Expects a repository to work in every way.
fn works(repo: &Repo) -> anyhow::Result<()> {
    let manifest = repo.push_image("v1")?;
    expect::pulled(repo, &repo.manifest("v1"), &manifest.digest(), &manifest.bytes)?;
    expect::pulled(repo, &repo.manifest(&manifest.digest()), &manifest.digest(), &manifest.bytes)?;
    let answer = repo.get(&repo.tags())?;
    ensure!(expect::tag_names(&answer)? == ["v1"], "tags {}", answer.text());
    ensure!(answer.json()?["name"] == repo.name.as_str(), "name in {}", answer.text());
    let session = repo.begin()?;
    if !repo.target.own {
        return session.holds(0);
    }
    expect::status(&session.send(&Request::new("DELETE", session.location.clone()))?, &[204])
}

pub fn underscore_is_no_repository(site: &Site) -> anyhow::Result<()> {
    let word = site.word();
    for name in [format!("_{word}"), format!("_{word}/x")] {
        let repo = site.repo_named(&name);
        for path in [repo.tags(), repo.manifest("latest")] {
            let answer = repo.get(&path)?;
            expect::status(&answer, &[404])?;
            expect::codes(&answer)?;
        }
        let begun = repo.send(&Request::new("POST", repo.uploads()))?;
        expect::status(&begun, &[400, 404, 405])?;
        expect::codes(&begun)?;
    }
    Ok(())
}

pub fn one_segment_is_a_name(site: &Site) -> anyhow::Result<()> {
    works(&site.repo_named(&site.word()))
}
