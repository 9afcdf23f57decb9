//! end-3, 7, 9: manifests (oci.md rows 15-28, 84-110).

use std::collections::BTreeSet;

use harness::site::digest as digest_of;

use crate::model::answer::blobs::malformed;
use crate::model::content::{Grammar, grammar};
use crate::model::expected::{Answer, Body, Want};
use crate::model::op::Op;
use crate::model::reading::{Reading, read};
use crate::model::state::{Bytes, Effect, Manifest, Repo, State};

/// Number of `tag` parameters accepted by every registry that supports them.
const TAGS_TAKEN: usize = 10;

pub(super) fn put(state: &State, op: &Op) -> Vec<Answer> {
    let Op::PutManifest { repo, reference, tags, digest, content_type, body } = op else { return Vec::new() };
    let empty = Repo::default();
    let here = state.repo(repo).unwrap_or(&empty);
    let mut faults = Vec::new();
    let by_digest = reference.contains(':');
    let asked = if by_digest { Some(reference.as_str()) } else { digest.as_deref() };
    let digest = stored_digest(asked, body.as_bytes(), &mut faults);
    if !by_digest && !is_tag(reference) {
        faults.push(Answer::error(400, &["MANIFEST_INVALID"]));
    }
    if by_digest && tags.iter().any(|tag| !is_tag(tag)) {
        faults.push(Answer::error(400, &[]));
    }
    if by_digest && tags.len() > TAGS_TAKEN {
        faults.push(Answer::error(414, &[]));
    }
    let reading = read(body.as_bytes(), content_type.as_deref());
    match &reading {
        None => faults.push(Answer::error(400, &["MANIFEST_INVALID"])),
        Some(reading) => faults.extend(reference_faults(here, reading)),
    }
    let (Some(reading), Some(digest)) = (reading, digest) else { return faults };
    // A repeated push of existing content need not be checked again.
    let is_repeat = here.manifests.contains_key(&digest) && faults.iter().all(is_reference_fault);
    if !faults.is_empty() && !is_repeat {
        return faults;
    }
    let tags = if by_digest { tags.clone() } else { vec![reference.clone()] };
    faults.push(stored(repo, by_digest, digest, tags, Manifest { bytes: body.as_bytes().into(), reading }));
    faults
}

/// The digest under which the manifest will be stored; `None` after a fault.
fn stored_digest(asked: Option<&str>, body: &[u8], faults: &mut Vec<Answer>) -> Option<String> {
    let Some(asked) = asked else { return Some(digest_of("sha256", body)) };
    match grammar(asked) {
        Grammar::Known(algorithm) if digest_of(algorithm, body) == asked => Some(asked.to_owned()),
        _ => {
            faults.push(Answer::error(400, &["DIGEST_INVALID"]));
            None
        }
    }
}

fn stored(repo: &str, by_digest: bool, digest: String, tags: Vec<String>, manifest: Manifest) -> Answer {
    let subject = manifest.reading.subject.as_ref().map_or(Want::Absent, |subject| Want::Is(subject.digest.clone()));
    let listed = if by_digest && !tags.is_empty() { Want::List(tags.iter().cloned().collect()) } else { Want::Absent };
    let effect = Effect::PutManifest { repo: repo.to_owned(), digest: digest.clone(), manifest, tags };
    Answer::new(201)
        .is("Docker-Content-Digest", digest)
        .header("Location", Want::Starts(format!("/v2/{repo}/manifests/")))
        .header("OCI-Subject", subject)
        .header("OCI-Tag", listed)
        .effect(effect)
}

/// Rows 91-97: an error for each missing digest, or for a wrong size.
fn reference_faults(here: &Repo, reading: &Reading) -> Vec<Answer> {
    let mut missing = BTreeSet::new();
    let mut wrong = false;
    for need in &reading.needs {
        match size_of(here, &need.digest) {
            None => {
                missing.insert(need.digest.as_str());
            }
            Some(size) => wrong |= size != need.size as usize,
        }
    }
    if let Some(subject) = &reading.subject {
        let manifest = here.manifests.get(&subject.digest);
        wrong |= manifest.is_some_and(|manifest| manifest.bytes.len() != subject.size as usize);
    }
    let mut faults = Vec::new();
    if !missing.is_empty() {
        faults.push(Answer::errors(400, "MANIFEST_BLOB_UNKNOWN", missing.len()));
    }
    if wrong {
        faults.push(Answer::error(400, &["MANIFEST_INVALID"]));
    }
    faults
}

fn size_of(here: &Repo, digest: &str) -> Option<usize> {
    here.blobs.get(digest).or_else(|| here.manifests.get(digest).map(|manifest| &manifest.bytes)).map(|b| b.len())
}

fn is_reference_fault(answer: &Answer) -> bool {
    matches!(&answer.body, Body::Error(codes, _) if codes[..] == ["MANIFEST_BLOB_UNKNOWN"])
}

pub(super) fn get(state: &State, repo: &str, reference: &str, if_none_match: Option<&str>) -> Vec<Answer> {
    if reference.contains(':') && grammar(reference) == Grammar::Malformed {
        return malformed();
    }
    let Some(here) = state.repo(repo).filter(|repo| repo.exists) else {
        return vec![Answer::error(404, &["NAME_UNKNOWN"])];
    };
    let Some((digest, manifest)) = here.resolve(reference) else {
        return vec![Answer::error(404, &["MANIFEST_UNKNOWN"])];
    };
    let etag = format!("\"{digest}\"");
    if if_none_match.is_some_and(|given| given == etag) {
        return vec![Answer::new(304).is("ETag", etag)];
    }
    vec![
        Answer::new(200)
            .is("Docker-Content-Digest", digest)
            .is("Content-Type", manifest.reading.media_type.as_str())
            .is("Content-Length", manifest.bytes.len().to_string())
            .is("ETag", etag)
            .body(Body::Bytes(Bytes::clone(&manifest.bytes))),
    ]
}

pub(super) fn delete(state: &State, repo: &str, reference: &str) -> Vec<Answer> {
    if reference.contains(':') && grammar(reference) == Grammar::Malformed {
        return malformed();
    }
    let Some(here) = state.repo(repo).filter(|repo| repo.exists) else {
        return vec![Answer::error(404, &["NAME_UNKNOWN", "MANIFEST_UNKNOWN"])];
    };
    let repo = repo.to_owned();
    if here.tags.contains_key(reference) {
        return vec![Answer::new(202).effect(Effect::RemoveTag { repo, tag: reference.to_owned() })];
    }
    if here.manifests.contains_key(reference) {
        return vec![Answer::new(202).effect(Effect::RemoveManifest { repo, digest: reference.to_owned() })];
    }
    vec![Answer::error(404, &["MANIFEST_UNKNOWN"])]
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|first| word(*first))
        && bytes.len() <= 128
        && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'))
}
