//! Blobs mounted from another repository (rows 45, 46, 48-50).

use anyhow::{anyhow, ensure};
use harness::client::{Request, Response};
use harness::expect::{self, Faults};
use harness::site::{Repo, Session, Site, sha256, with_query};

fn mount(repo: &Repo, query: &str) -> anyhow::Result<Response> {
    repo.send(&Request::new("POST", with_query(&repo.uploads(), query)))
}

/// Expects a 201 whose Location is the blob in the target repository.
fn mounted(repo: &Repo, answer: &Response, digest: &str, bytes: &[u8]) -> anyhow::Result<()> {
    expect::pushed(repo, answer, digest, bytes)?;
    if !answer.own {
        return expect::pulled(repo, &repo.blob(digest), digest, bytes);
    }
    let location = harness::site::local_path(&repo.target, answer.need("Location")?)?;
    expect::that(location == repo.blob(digest), || format!("Location {location} is not the blob's"))
}

/// Expects a 202 with a working session.
fn session_instead(repo: &Repo, answer: &Response) -> anyhow::Result<()> {
    answer.expect(202)?;
    let location = harness::site::local_path(&repo.target, expect::relative_location(answer)?)?;
    let is_ours = !answer.own || location.starts_with(&repo.path("blobs/uploads/"));
    ensure!(is_ours, "Location {location} is not in the target repository");
    let session = Session::of(&repo.target, answer)?;
    session.holds(0)?;
    let bytes = b"uploaded instead";
    expect::pushed(repo, &session.close_with(&sha256(bytes), bytes)?, &sha256(bytes), bytes)
}

pub fn mount_from_a_repository_that_has_it(site: &Site) -> anyhow::Result<()> {
    let (source, target) = (site.repo("source"), site.repo("target"));
    let bytes = site.noise("blob", 5000);
    let mut faults = Faults::default();
    for algorithm in site.algorithms() {
        let digest = harness::site::digest(algorithm, &bytes);
        let pushed = source.push_blob_as(harness::site::Style::PostPut, &digest, &bytes)?;
        faults.check(algorithm, pushed.expect(201).map(drop));
        for from in [source.name.clone(), source.name.replace('/', "%2F")] {
            let answer = mount(&target, &format!("mount={digest}&from={from}"))?;
            if !answer.own && answer.status == 202 {
                return Err(expect::not_here("this registry does not mount blobs, which is allowed"));
            }
            faults.check(&format!("{algorithm} from {from}"), mounted(&target, &answer, &digest, &bytes));
        }
    }
    faults.finish()
}

pub fn mount_of_what_is_not_there(site: &Site) -> anyhow::Result<()> {
    let (source, elsewhere) = (site.repo("source"), site.repo("elsewhere"));
    source.push_blob(b"something")?;
    let bytes = site.noise("blob", 100);
    let digest = elsewhere.push_blob(&bytes)?;
    let cases = [
        ("absent in the source", format!("mount={digest}&from={}", source.name)),
        ("unknown source", format!("mount={digest}&from={}", site.repo("nobody").name)),
        ("bad source name", format!("mount={digest}&from=Not/A/Name")),
        ("climbing source name", format!("mount={digest}&from=../{}", elsewhere.name)),
    ];
    let mut faults = Faults::default();
    for (number, (what, query)) in cases.iter().enumerate() {
        let target = site.repo(&format!("target{number}"));
        let answer = mount(&target, query)?;
        // A registry may find the blob elsewhere, whatever `from` names.
        if !answer.own && answer.status == 201 {
            faults.check(what, mounted(&target, &answer, &digest, &bytes));
            continue;
        }
        faults.check(what, session_instead(&target, &answer));
        faults.check(what, expect::absent(&target, &target.blob(&digest)));
    }
    faults.finish()
}

pub fn mount_without_a_source(site: &Site) -> anyhow::Result<()> {
    let (source, target) = (site.repo("source"), site.repo("target"));
    let bytes = site.noise("blob", 5000);
    let digest = source.push_blob(&bytes)?;
    let answer = mount(&target, &format!("mount={digest}"))?;
    match answer.status {
        201 => mounted(&target, &answer, &digest, &bytes)?,
        _ => session_instead(&target, &answer)?,
    }
    let unknown = mount(&target, &format!("mount={}", sha256(&site.noise("nobody's", 10))))?;
    session_instead(&target, &unknown)
}

pub fn malformed_mounts(site: &Site) -> anyhow::Result<()> {
    let (source, target) = (site.repo("source"), site.repo("target"));
    source.push_blob(b"something")?;
    let mut faults = Faults::default();
    for digest in ["sha256:short", "nothing", "", "sha256:ABCDEF"] {
        let answer = mount(&target, &format!("mount={digest}&from={}", source.name))?;
        faults.check(&format!("mount={digest}"), expect::error(&answer, &[400], &["DIGEST_INVALID"]));
    }
    let answer = mount(&target, &format!("from={}", source.name))?;
    faults.check("from alone", session_instead(&target, &answer));
    faults.finish()
}

pub fn mount_against_delete(site: &Site) -> anyhow::Result<()> {
    const ROUNDS: usize = 20;
    let source = site.repo("source");
    for round in 0..ROUNDS {
        let target = site.repo(&format!("target{round}"));
        let bytes = site.noise(&format!("blob {round}"), 2000);
        let digest = source.push_blob(&bytes)?;
        let query = format!("mount={digest}&from={}", source.name);
        let (deleted, answer) = std::thread::scope(|scope| {
            let deleting = scope.spawn(|| source.delete(&source.blob(&digest)));
            let answer = mount(&target, &query);
            (deleting.join(), answer)
        });
        expect::status(&deleted.map_err(|_| anyhow!("the deleting thread died"))??, &[202])?;
        let answer = answer?;
        match answer.status {
            201 => mounted(&target, &answer, &digest, &bytes)?,
            _ => session_instead(&target, &answer)?,
        }
    }
    Ok(())
}
