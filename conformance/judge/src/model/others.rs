//! The operations for registries that are not judged by Skyberth's own policy: those whose answers the specification
//! decides.

use serde_json::Value;

use crate::model::answer::{answer, uploads::bounds};
use crate::model::content::{Content, Grammar, grammar};
use crate::model::op::Op;
use crate::model::state::State;

/// True if v1.1.1 decides the answer to this operation.
pub fn is_asked(state: &State, op: &Op) -> bool {
    match op {
        Op::StartUpload { algorithm, junk, .. } => algorithm.is_none() && !junk,
        Op::Mount { digest, from, bytes, .. } => from.is_some() && bytes.is_some() && is_plain(digest),
        Op::Patch { repo, slot, bytes, range, chunked } => {
            !chunked && state.session(*slot, repo).is_some() && covers(range.as_deref(), bytes)
        }
        Op::UploadStatus { repo, slot } => state.session(*slot, repo).is_some(),
        Op::CloseUpload { repo, slot, digest, bytes, range } => {
            let Some(session) = state.session(*slot, repo) else { return false };
            let is_whole = range.is_none() && session.bytes.is_empty();
            let last = bytes.as_ref().is_none_or(|bytes| is_whole || covers(range.as_deref(), bytes));
            last && digest.as_deref().is_some_and(is_plain)
        }
        Op::GetBlob { digest, range, .. } => range.is_none() && is_plain(digest) && !is_manifest(state, digest),
        Op::DeleteBlob { repo, digest } => {
            let is_referenced = state.repo(repo).is_some_and(|here| here.is_referenced(digest));
            is_plain(digest) && !is_referenced && !is_manifest(state, digest)
        }
        Op::PutManifest { .. } => is_plain_manifest(state, op),
        Op::GetManifest { reference, if_none_match, .. } => if_none_match.is_none() && is_reference(reference),
        Op::DeleteManifest { reference, .. } => is_reference(reference),
        Op::Tags { repo, n, last } => {
            let has_tags = state.repo(repo).is_some_and(|here| !here.tags.is_empty());
            has_tags && n.is_none() && last.is_none()
        }
        Op::Referrers { repo, digest, artifact_type, n } => {
            let exists = state.repo(repo).is_some_and(|here| here.exists);
            exists && artifact_type.is_none() && n.is_none() && is_plain(digest)
        }
        // Optional, newer than v1.1.1, or in no specification.
        Op::PostBlob { .. } | Op::CancelUpload { .. } | Op::Catalog { .. } => false,
    }
}

/// True for a digest with the algorithm that every registry supports.
fn is_plain(digest: &str) -> bool {
    grammar(digest) == Grammar::Known("sha256")
}

fn is_reference(reference: &str) -> bool {
    !reference.contains(':') || is_plain(reference)
}

/// True if it is the digest of a manifest, which some registries serve as a blob too.
fn is_manifest(state: &State, digest: &str) -> bool {
    state.repos.values().any(|repo| repo.manifests.contains_key(digest))
}

/// True if the range has the length of these bytes, whatever its position.
fn covers(range: Option<&str>, bytes: &Content) -> bool {
    range.and_then(bounds).is_some_and(|(first, last)| last - first + 1 == bytes.len())
}

/// True for an OCI manifest whose type is stated twice alike, pushed by tag or by its own digest, with all that it
/// references.
fn is_plain_manifest(state: &State, op: &Op) -> bool {
    let Op::PutManifest { reference, tags, digest, content_type, body, .. } = op else { return false };
    let kind = serde_json::from_str::<Value>(body).ok();
    let kind = kind
        .as_ref()
        .and_then(|body| body["mediaType"].as_str())
        .filter(|kind| kind.starts_with("application/vnd.oci."));
    let is_typed = kind.is_some() && kind == content_type.as_deref() && !body.contains("nondistributable");
    let is_named = tags.is_empty() && digest.is_none() && is_reference(reference);
    is_typed && is_named && matches!(&answer(state, op, false)[..], [one] if one.status == 201)
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::random::Random;

    use crate::model::generate::Generator;

    #[test]
    fn whatever_is_made_up_for_others_is_asked_of_them() {
        let repos = vec!["a".to_owned(), "b".to_owned()];
        let state = State { others: true, ..State::new(&repos) };
        let mut generator = Generator::new(Random::new(7), 0, repos, Vec::new());
        let mut kinds = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            let op = generator.next(&state);
            assert!(is_asked(&state, &op), "{op:?}");
            kinds.insert(format!("{op:?}").split(' ').next().unwrap_or_default().to_owned());
        }
        assert!(kinds.len() >= 4, "{kinds:?}");
    }
}
