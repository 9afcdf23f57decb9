//! Tag names: the longest, invalid ones, and those of the fallback scheme (rows 19-21).

use harness::expect::{self, Faults};
use harness::manifest::Manifest;
use harness::site::{Repo, Site};

fn accepted(repo: &Repo, tag: &str, manifest: &Manifest) -> anyhow::Result<()> {
    expect::pushed(repo, &repo.put(tag, manifest)?, &manifest.digest(), &manifest.bytes)?;
    expect::pulled(repo, &repo.manifest(tag), &manifest.digest(), &manifest.bytes)
}

fn refused(repo: &Repo, tag: &str, manifest: &Manifest) -> anyhow::Result<()> {
    repo.unchanged(&[repo.tags(), repo.manifest(&manifest.digest())], || {
        let answer = repo.put(tag, manifest)?;
        // For other registries, a path without a valid tag may be no valid path.
        let statuses: &[u16] = if answer.own { &[400] } else { &[400, 404] };
        expect::error(&answer, statuses, &["MANIFEST_INVALID"])
    })?;
    expect::error(&repo.get(&repo.manifest(tag))?, &[404], &["MANIFEST_UNKNOWN"])?;
    expect::status(&repo.head(&repo.manifest(tag))?, &[404])
}

pub fn tags_have_128_characters(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.image("one")?;
    accepted(&repo, &"t".repeat(128), &manifest)?;
    refused(&repo, &"t".repeat(129), &repo.image("two")?)
}

pub fn invalid_tags_are_refused(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    repo.push_image("latest")?;
    let manifest = repo.image("other")?;
    let mut faults = Faults::default();
    for tag in [".lead", "-lead", "a%20b", "a%40b", "a@b", "%C3%A9", "a%2Bb", "a+b", "a~b", ".INVALID_MANIFEST_NAME"] {
        faults.check(tag, refused(&repo, tag, &manifest));
    }
    faults.finish()
}

pub fn fallback_and_signature_tags_are_tags(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let fallback = manifest.digest().replace(':', "-");
    let mut faults = Faults::default();
    for tag in [fallback.clone(), format!("{fallback}.sig"), format!("{fallback}.att"), "_under".to_owned()] {
        faults.check(&tag, accepted(&repo, &tag, &manifest));
    }
    faults.finish()
}
