//! The table of the API: all valid answers for a state and a request.

mod blobs;
mod lists;
mod manifests;
pub mod uploads;

#[cfg(test)]
mod tests;

use crate::model::expected::Answer;
use crate::model::op::Op;
use crate::model::state::{Effect, State};

/// The allowed answers. `contended`: other requests on the same session are in flight.
pub fn answer(state: &State, op: &Op, contended: bool) -> Vec<Answer> {
    match op {
        Op::StartUpload { repo, slot, algorithm, .. } => uploads::start(repo, *slot, algorithm.as_deref()),
        Op::PostBlob { repo, bytes, digest, .. } => uploads::post(repo, bytes, digest),
        Op::Mount { repo, slot, digest, from, bytes } => {
            uploads::mount(state, repo, *slot, digest, from.as_deref(), bytes.as_ref())
        }
        Op::Patch { repo, slot, bytes, range, .. } => {
            uploads::patch(state, repo, *slot, bytes, range.as_deref(), contended)
        }
        Op::UploadStatus { repo, slot } => uploads::status(state, repo, *slot, contended),
        Op::CancelUpload { repo, slot } => uploads::cancel(state, repo, *slot),
        Op::CloseUpload { repo, slot, digest, bytes, range } => {
            let last = uploads::Last { bytes: bytes.as_ref(), range: range.as_deref() };
            uploads::close(state, repo, *slot, digest.as_deref(), last, contended)
        }
        Op::GetBlob { repo, digest, head, range } => blobs::get(state, repo, digest, *head, range.as_deref()),
        Op::DeleteBlob { repo, digest } => or_disabled(state, blobs::delete(state, repo, digest)),
        Op::PutManifest { .. } => manifests::put(state, op),
        Op::GetManifest { repo, reference, if_none_match, .. } => {
            manifests::get(state, repo, reference, if_none_match.as_deref())
        }
        Op::DeleteManifest { repo, reference } => or_disabled(state, manifests::delete(state, repo, reference)),
        Op::Tags { repo, n, last } => lists::tags(state, repo, n.as_deref(), last.as_deref()),
        Op::Catalog { .. } => lists::catalog(state),
        Op::Referrers { repo, digest, artifact_type, .. } => {
            lists::referrers(state, repo, digest, artifact_type.as_deref())
        }
    }
}

/// Other registries may refuse all deletes.
fn or_disabled(state: &State, mut answers: Vec<Answer>) -> Vec<Answer> {
    answers.extend(state.others.then(|| Answer::error(405, &[])));
    answers
}

/// The possible states after a request without an answer, because the server was killed.
pub fn unanswered(state: &State, op: &Op) -> Vec<State> {
    let mut out = vec![state.clone()];
    let mut add = |next: State| {
        if !out.contains(&next) {
            out.push(next);
        }
    };
    for answer in answer(state, op, true) {
        let mut next = state.clone();
        match answer.effect {
            Effect::Open { repo, .. } => next.repos.entry(repo).or_default().ghosts.doubt(),
            Effect::Append { slot, bytes } => next.tail(slot, &bytes),
            effect => next.apply(effect),
        }
        add(next);
    }
    if let Op::CloseUpload { repo, slot, bytes, .. } = op
        && state.session(*slot, repo).is_some()
    {
        // The last chunk may have arrived in part; or the file was in the store but not yet linked.
        let mut partly = state.clone();
        partly.tail(*slot, &bytes.as_ref().map(crate::model::content::Content::bytes).unwrap_or_default());
        add(partly);
        let mut gone = state.clone();
        gone.apply(Effect::End { slot: *slot });
        add(gone);
    }
    if let Op::PostBlob { repo, .. } = op {
        // A single POST may use a session internally.
        let mut ghost = state.clone();
        ghost.repos.entry(repo.clone()).or_default().ghosts.doubt();
        add(ghost);
    }
    out
}
