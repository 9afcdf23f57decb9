//! Referrers: filtered, large, and listed at once (rows 121-123).

use anyhow::{anyhow, ensure};
use harness::expect;
use harness::manifest::{INDEX, artifact};
use harness::site::{Repo, Site, local_path, with_query};
use serde_json::{Value, json};

/// The limit of containerd and oras for one answer.
const CLIENT_LIMIT: usize = 4 << 20;

/// The descriptors of all pages, following `Link`.
pub fn descriptors(repo: &Repo, subject: &str, query: &str) -> anyhow::Result<Vec<Value>> {
    let mut path = repo.referrers(subject);
    if !query.is_empty() {
        path = with_query(&path, query);
    }
    let mut all = Vec::new();
    for _ in 0..200 {
        let answer = repo.get(&path)?;
        answer.expect(200)?;
        expect::header(&answer, "Content-Type", INDEX)?;
        ensure!(answer.body.len() <= CLIENT_LIMIT, "one answer of {} bytes", answer.body.len());
        let body = answer.json()?;
        ensure!(body["schemaVersion"] == 2 && body["mediaType"] == INDEX, "not an index");
        all.extend(body["manifests"].as_array().cloned().ok_or_else(|| anyhow!("no manifests in {body}"))?);
        match expect::next_link(&answer)? {
            Some(next) => path = local_path(&repo.target, &next)?,
            None => return Ok(all),
        }
    }
    anyhow::bail!("200 pages and no end")
}

/// Rows that need the referrers API, which a registry may lack.
pub const ROWS: [&str; 9] = ["18", "95", "107", "108", "121", "122", "123", "B4", "B6"];

/// Whether this registry has the referrers API.
pub fn supported(site: &Site) -> anyhow::Result<bool> {
    let repo = site.repo("probe");
    let manifest = repo.push_image("probe")?;
    Ok(repo.get(&repo.referrers(&manifest.digest()))?.status != 404)
}

/// The digests of all pages, sorted.
pub fn listed(repo: &Repo, subject: &str, query: &str) -> anyhow::Result<Vec<String>> {
    let all = descriptors(repo, subject, query)?;
    let mut digests: Vec<_> = all.iter().map(|entry| entry["digest"].as_str().unwrap_or("").to_owned()).collect();
    digests.sort();
    Ok(digests)
}

pub fn filter_by_artifact_type(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let subject = repo.push_image("subject")?;
    let one = repo.attach("application/vnd.example.one", &subject.descriptor(), &json!({"k": "v"}))?;
    let two = repo.attach("application/vnd.example.two", &subject.descriptor(), &json!({}))?;
    let ask = |kind: &str| repo.get(&with_query(&repo.referrers(&subject.digest()), &format!("artifactType={kind}")));
    let none = ask("application/vnd.example.unknown")?;
    super::digests::empty_list(&none)?;
    expect::header(&none, "OCI-Filters-Applied", "artifactType")?;
    expect::header(&ask("application/vnd.example.one")?, "OCI-Filters-Applied", "artifactType")?;
    let query = "artifactType=application/vnd.example.one";
    let found = descriptors(&repo, &subject.digest(), query)?;
    let mut want = one.descriptor();
    want["artifactType"] = json!("application/vnd.example.one");
    want["annotations"] = json!({"k": "v"});
    ensure!(found == [want.clone()], "{found:?} instead of {want}");
    let escaped = listed(&repo, &subject.digest(), "artifactType=application%2Fvnd.example.two")?;
    ensure!(escaped == [two.digest()], "escaped filter gives {escaped:?}");
    let all = repo.get(&repo.referrers(&subject.digest()))?;
    expect::no_header(&all, "OCI-Filters-Applied")
}

pub fn more_than_fits_one_answer(site: &Site) -> anyhow::Result<()> {
    const COUNT: usize = 6;
    let repo = site.repo("a");
    let subject = repo.push_image("subject")?;
    let mut want = Vec::new();
    for number in 0..COUNT {
        let note = format!("{number}{}", "x".repeat(1 << 20));
        let pushed = repo.attach("application/vnd.example.big", &subject.descriptor(), &json!({"note": note}))?;
        want.push((pushed.digest(), note));
    }
    want.sort();
    let found = descriptors(&repo, &subject.digest(), "")?;
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let mut found: Vec<_> = found.iter().map(|e| (text(&e["digest"]), text(&e["annotations"]["note"]))).collect();
    found.sort();
    ensure!(found.len() == COUNT, "{} of {COUNT} listed", found.len());
    ensure!(found == want, "other digests or annotations than were pushed");
    Ok(())
}

pub fn listed_as_soon_as_pushed(site: &Site) -> anyhow::Result<()> {
    const CLIENTS: usize = 10;
    const EACH: usize = 10;
    let repo = site.repo("a");
    let subject = repo.image("subject")?;
    let early = repo.attach("application/vnd.example.early", &subject.descriptor(), &json!({}))?;
    ensure!(listed(&repo, &subject.digest(), "")? == [early.digest()], "not listed before its subject is there");
    repo.store("subject", &subject)?;
    let push = |client: usize| {
        let mut pushed = Vec::new();
        for number in 0..EACH {
            let note = json!({"client": client.to_string(), "number": number.to_string()});
            let manifest = artifact("application/vnd.example.many", &subject.descriptor(), &note);
            repo.store(&manifest.digest(), &manifest)?;
            let seen = listed(&repo, &subject.digest(), "")?;
            ensure!(seen.contains(&manifest.digest()), "a client does not see what it just pushed");
            pushed.push(manifest.digest());
        }
        Ok(pushed)
    };
    let mut want = vec![early.digest()];
    let results: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || push(client))).collect();
        running.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for result in results {
        want.extend(result.map_err(|_| anyhow!("a client's thread died"))??);
    }
    want.sort();
    let all = listed(&repo, &subject.digest(), "")?;
    ensure!(all == want, "{} listed of {}", all.len(), want.len());
    Ok(())
}
