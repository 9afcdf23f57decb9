//! end-8, 12 and `_catalog`: tag lists, referrers, the catalog (oci.md rows 18, 23, 108, 114-121).

use serde_json::{Value, json};

use crate::model::content::{Grammar, grammar};
use crate::model::expected::{Answer, Body, Want};
use crate::model::reading::INDEX;
use crate::model::state::{Manifest, State};

pub(super) fn tags(state: &State, repo: &str, n: Option<&str>, last: Option<&str>) -> Vec<Answer> {
    let count = n.map(str::parse::<usize>);
    let mut answers = Vec::new();
    if matches!(count, Some(Err(_))) {
        answers.push(Answer::error(400, &["UNSUPPORTED"]));
    }
    let Some(here) = state.repo(repo).filter(|repo| repo.exists) else {
        answers.push(Answer::error(404, &["NAME_UNKNOWN"]));
        return answers;
    };
    if !answers.is_empty() {
        return answers;
    }
    let count = count.and_then(Result::ok);
    let mut rest: Vec<String> =
        here.tags.keys().filter(|tag| last.is_none_or(|last| tag.as_str() > last)).cloned().collect();
    let more = count.is_some_and(|n| n > 0 && n < rest.len());
    rest.truncate(count.unwrap_or(usize::MAX));
    vec![
        Answer::new(200)
            .header("Link", if more { Want::Next } else { Want::Absent })
            .header("Content-Type", Want::Starts("application/json".to_owned()))
            .body(Body::Tags(repo.to_owned(), rest)),
    ]
}

pub(super) fn catalog(state: &State) -> Vec<Answer> {
    let own = state.repos.keys().cloned().collect();
    let holding = state.repos.iter().filter(|(_, repo)| !repo.manifests.is_empty()).map(|(name, _)| name.clone());
    vec![Answer::new(200).body(Body::Catalog(own, holding.collect()))]
}

pub(super) fn referrers(state: &State, repo: &str, digest: &str, artifact_type: Option<&str>) -> Vec<Answer> {
    if grammar(digest) == Grammar::Malformed {
        return vec![Answer::error(400, &["DIGEST_INVALID"])];
    }
    let manifests = state.repo(repo).into_iter().flat_map(|repo| &repo.manifests);
    let referrers = manifests
        .filter(|(_, manifest)| manifest.reading.subject.as_ref().is_some_and(|subject| subject.digest == digest))
        .filter(|(_, m)| artifact_type.is_none_or(|wanted| m.reading.artifact_type.as_deref() == Some(wanted)));
    let list = referrers.map(|(digest, manifest)| descriptor(digest, manifest)).collect();
    let applied = artifact_type.map_or(Want::Absent, |_| Want::Is("artifactType".to_owned()));
    let listed =
        Answer::new(200).is("Content-Type", INDEX).header("OCI-Filters-Applied", applied).body(Body::Referrers(list));
    // The whole referrers API is optional.
    let absent = state.others.then(|| Answer::error(404, &[]));
    [listed].into_iter().chain(absent).collect()
}

fn descriptor(digest: &str, manifest: &Manifest) -> Value {
    let reading = &manifest.reading;
    let mut out = json!({ "mediaType": reading.media_type, "digest": digest, "size": manifest.bytes.len() });
    if let Some(kind) = &reading.artifact_type {
        out["artifactType"] = json!(kind);
    }
    if let Some(annotations) = &reading.annotations {
        out["annotations"] = annotations.clone();
    }
    out
}
