//! References of manifests: missing, foreign, of other sizes, and subjects (rows 91-97).

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::ensure;
use harness::client::Response;
use harness::expect::{self, Faults};
use harness::manifest::{CONFIG, IMAGE, LAYER, Manifest, artifact, described, descriptor, image, index};
use harness::site::{Repo, Site, digest, sha256};
use serde_json::{Value, json};

use super::manifests::{accepted, refused};

const NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// Expects an error body with exactly one `MANIFEST_BLOB_UNKNOWN` for each of these digests.
pub fn names_each_missing(answer: &Response, missing: &[String]) -> anyhow::Result<()> {
    expect::error(answer, &[400], &["MANIFEST_BLOB_UNKNOWN"])?;
    let body = answer.json()?;
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    ensure!(errors.len() == missing.len(), "{} errors for {} missing digests: {body}", errors.len(), missing.len());
    for digest in missing {
        ensure!(errors.iter().any(|error| error.to_string().contains(digest)), "{digest} is not named: {body}");
    }
    Ok(())
}

/// Manifests with missing references, with the missing digests, by kind.
pub fn manifests_with_missing_references(repo: &Repo) -> anyhow::Result<Vec<(&'static str, Manifest, Vec<String>)>> {
    repo.push_blob(b"{}")?;
    let config = described(CONFIG, b"{}");
    let nobody = |label: &str| describe_missing(LAYER, &format!("{label} of {}", repo.name));
    let (one, two, cfg) = (nobody("one"), nobody("two"), nobody("config"));
    let child = describe_missing(IMAGE, &format!("child of {}", repo.name));
    let of = |values: &[&Value]| values.iter().map(|v| v["digest"].as_str().unwrap_or("").to_owned()).collect();
    Ok(vec![
        ("layers", image(&config, &[one.clone(), two.clone()]), of(&[&one, &two])),
        ("one layer twice", image(&config, &[one.clone(), one.clone()]), of(&[&one])),
        ("config", image(&cfg, &[]), of(&[&cfg])),
        ("config and layer", image(&cfg, std::slice::from_ref(&two)), of(&[&cfg, &two])),
        ("child", index(std::slice::from_ref(&child)), of(&[&child])),
    ])
}

fn describe_missing(media_type: &str, text: &str) -> Value {
    described(media_type, text.as_bytes())
}

pub fn missing_references(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    repo.push_image("latest")?;
    let checks = repo.checks_references()?;
    let mut faults = Faults::default();
    for (what, manifest, missing) in manifests_with_missing_references(&repo)? {
        if !site.target.own {
            faults.check(what, accepted_or_unknown(&repo.put("sparse", &manifest)?));
            continue;
        }
        if !checks {
            faults.check(what, accepted(&repo, "sparse", &manifest));
            continue;
        }
        faults.check(what, names_each_missing(&repo.put("latest", &manifest)?, &missing));
        faults.check(what, refused(&repo, &manifest, "MANIFEST_BLOB_UNKNOWN"));
    }
    faults.finish()
}

/// A registry may accept it. If it refuses it, an error must say `MANIFEST_BLOB_UNKNOWN`.
fn accepted_or_unknown(answer: &Response) -> anyhow::Result<()> {
    let says_so = (400..500).contains(&answer.status) && answer.text().contains("MANIFEST_BLOB_UNKNOWN");
    ensure!(
        answer.status == 201 || says_so,
        "neither 201 nor MANIFEST_BLOB_UNKNOWN: {} {}",
        answer.status,
        answer.text()
    );
    Ok(())
}

pub fn foreign_layers_with_urls(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    repo.push_blob(b"{}")?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let url = format!("http://{}/layer", listener.local_addr()?);
    let mut faults = Faults::default();
    for (number, media_type) in [NONDISTRIBUTABLE, FOREIGN].into_iter().enumerate() {
        let mut layer = describe_missing(media_type, &format!("foreign layer of {}", repo.name));
        layer["urls"] = json!([url]);
        let manifest = image(&described(CONFIG, b"{}"), &[layer]);
        faults.check(media_type, accepted(&repo, &format!("t{number}"), &manifest));
    }
    std::thread::sleep(Duration::from_millis(500));
    let fetched = listener.accept().map(drop).map_err(|error| error.kind());
    ensure!(fetched == Err(ErrorKind::WouldBlock), "the server fetched a layer's url: {fetched:?}");
    faults.finish()
}

pub fn foreign_layers_without_urls(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    repo.push_image("latest")?;
    repo.push_blob(b"{}")?;
    if !repo.checks_references()? {
        return Err(expect::not_here("this registry does not check references"));
    }
    let mut faults = Faults::default();
    for urls in [None, Some(json!([]))] {
        let mut layer = describe_missing(NONDISTRIBUTABLE, &format!("foreign layer of {}", repo.name));
        let digest = layer["digest"].as_str().unwrap_or("").to_owned();
        if let Some(urls) = urls {
            layer["urls"] = urls;
        }
        let answer = repo.put("latest", &image(&described(CONFIG, b"{}"), &[layer]))?;
        faults.check("urls missing or empty", names_each_missing(&answer, &[digest]));
    }
    faults.finish()
}

pub fn blobs_of_another_repository(site: &Site) -> anyhow::Result<()> {
    let (here, there) = (site.repo("here"), site.repo("there"));
    here.push_image("latest")?;
    if !here.checks_references()? {
        return Err(expect::not_here("this registry does not check references"));
    }
    let manifest = there.push_image("latest")?;
    let body = manifest.body();
    let missing = [&body["config"], &body["layers"][0]].map(|v| v["digest"].as_str().unwrap_or("").to_owned());
    let answer = here.put("theirs", &manifest)?;
    if answer.status == 201 {
        // The registry linked the blobs, so they must be pullable here.
        return missing.iter().try_for_each(|digest| expect::status(&here.get(&here.blob(digest))?, &[200]));
    }
    names_each_missing(&answer, &missing)?;
    expect::absent(&here, &here.manifest("theirs"))
}

pub fn subjects_of_every_kind(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    repo.push_blob(b"{}")?;
    let present = repo.push_image("latest")?;
    let list = index(&[present.descriptor()]);
    repo.store("index", &list)?;
    let mut cases = vec![("present", present.descriptor()), ("an index", list.descriptor())];
    for algorithm in site.algorithms() {
        let absent = digest(algorithm, repo.name.as_bytes());
        cases.push((algorithm, descriptor(IMAGE, &absent, 500)));
    }
    let mut faults = Faults::default();
    for (what, subject) in cases {
        let image = artifact("application/vnd.example.edge", &subject, &json!({}));
        let list = index(&[]).with("subject", subject.clone());
        for manifest in [image, list] {
            let answer = repo.put(&manifest.digest(), &manifest)?;
            faults.check(what, expect::pushed(&repo, &answer, &manifest.digest(), &manifest.bytes));
            // Other registries must send the header for image manifests only.
            if site.target.own || manifest.media_type == IMAGE {
                faults.check(what, expect::header(&answer, "OCI-Subject", subject["digest"].as_str().unwrap_or("")));
            }
        }
    }
    let plain = repo.put("latest", &present)?;
    if site.target.own {
        faults.check("no subject", expect::no_header(&plain, "OCI-Subject"));
    }
    faults.finish()
}

pub fn malformed_subjects(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let present = repo.push_image("latest")?;
    let digest = present.digest();
    let subjects = [
        ("bad digest", json!({"mediaType": IMAGE, "digest": "sha256:short", "size": 5})),
        ("no digest", json!({"mediaType": IMAGE, "size": 5})),
        ("no size", json!({"mediaType": IMAGE, "digest": digest})),
        ("size is text", json!({"mediaType": IMAGE, "digest": digest, "size": "5"})),
        ("no object", json!("sha256:abc")),
    ];
    let mut faults = Faults::default();
    for (what, subject) in subjects {
        faults.check(what, refused(&repo, &present.with("subject", subject), "MANIFEST_INVALID"));
    }
    faults.finish()
}

pub fn sizes_that_are_not_so(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let good = repo.push_image("latest")?;
    let checks = repo.checks_references()?;
    let mut cases = vec![
        ("negative", json!(-1)),
        ("over i64", json!(9_223_372_036_854_775_808_u64)),
        ("a fraction", json!(1.5)),
        ("text", json!("15")),
    ];
    if checks {
        cases
            .extend([("one more", json!(good.body()["config"]["size"].as_u64().unwrap_or(0) + 1)), ("zero", json!(0))]);
    }
    let mut faults = Faults::default();
    for (what, size) in cases {
        let mut body = good.body();
        body["config"]["size"] = size.clone();
        faults.check(&format!("config, {what}"), refused(&repo, &Manifest::new(IMAGE, &body), "MANIFEST_INVALID"));
        let mut body = good.body();
        body["layers"][0]["size"] = size.clone();
        faults.check(&format!("layer, {what}"), refused(&repo, &Manifest::new(IMAGE, &body), "MANIFEST_INVALID"));
        let mut child = good.descriptor();
        child["size"] = size;
        // The manifest's own size + 1 also differs from the config's, but the manifest is invalid anyway.
        faults.check(&format!("child, {what}"), refused(&repo, &index(&[child]), "MANIFEST_INVALID"));
    }
    ensure!(sha256(&good.bytes) == good.digest(), "the fixture changed");
    faults.finish()
}
