//! end-4, 5, 6, 11, 13, 14: uploads (oci.md rows 40-74).

use harness::site::digest as digest_of;

use crate::model::content::{Content, Grammar, grammar};
use crate::model::expected::{Answer, Body, Want};
use crate::model::state::{Effect, Session, State};

const NO_SESSION: &[&str] = &["BLOB_UPLOAD_UNKNOWN"];

/// The last chunk, in a closing PUT.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last<'a> {
    pub(super) bytes: Option<&'a Content>,
    pub(super) range: Option<&'a str>,
}

pub(super) fn start(repo: &str, slot: u32, algorithm: Option<&str>) -> Vec<Answer> {
    match algorithm {
        None | Some("sha256" | "sha512" | "blake3") => vec![opened(repo, slot)],
        Some(_) => vec![bad_digest()],
    }
}

pub(super) fn post(repo: &str, content: &Content, digest: &str) -> Vec<Answer> {
    let Grammar::Known(algorithm) = grammar(digest) else { return vec![bad_digest()] };
    let bytes = content.bytes();
    if digest_of(algorithm, &bytes) != digest {
        return vec![bad_digest()];
    }
    let effect = Effect::AddBlob { repo: repo.to_owned(), digest: digest.to_owned(), bytes: bytes.into() };
    vec![created(repo, digest).effect(effect)]
}

pub(super) fn mount(
    state: &State,
    repo: &str,
    slot: u32,
    digest: &str,
    from: Option<&str>,
    content: Option<&Content>,
) -> Vec<Answer> {
    if grammar(digest) == Grammar::Malformed {
        return vec![bad_digest()];
    }
    let own = match from {
        Some(from) => state.repo(from).and_then(|source| source.blobs.get(digest)),
        None => state.repos.values().find_map(|source| source.blobs.get(digest)),
    };
    let here = state.repo(repo).and_then(|target| target.blobs.get(digest));
    // Other groups change their repositories meanwhile. A blob that is here already may count as mounted.
    let elsewhere = match from {
        // `from` may be treated as a hint.
        _ if state.others => true,
        Some(from) => state.repo(from).is_none() && content.is_some_and(Content::is_shared),
        None => content.is_some_and(|content| state.crowded || content.is_shared()),
    };
    let known = own.or(here).cloned().or_else(|| elsewhere.then(|| content.map(|c| c.bytes().into())).flatten());
    let mut answers = Vec::new();
    if let Some(bytes) = known {
        let effect = Effect::AddBlob { repo: repo.to_owned(), digest: digest.to_owned(), bytes };
        answers.push(created(repo, digest).effect(effect));
    }
    // Mounts are optional.
    if own.is_none() || state.others {
        answers.push(opened(repo, slot));
        if grammar(digest) == Grammar::Unknown {
            answers.push(bad_digest());
        }
    }
    answers
}

pub(super) fn patch(
    state: &State,
    repo: &str,
    slot: u32,
    content: &Content,
    range: Option<&str>,
    contended: bool,
) -> Vec<Answer> {
    let Some(session) = state.session(slot, repo) else { return vec![Answer::error(404, NO_SESSION)] };
    let mut answers = range_faults(session, repo, range, content.len(), contended);
    if answers.is_empty() {
        let end = session.bytes.len() + content.len();
        let effect = Effect::Append { slot, bytes: content.bytes() };
        answers.push(progress(202, repo, end).body(Body::Empty).effect(effect));
    }
    if contended && range.is_none() {
        answers.push(busy(session, repo));
    }
    answers
}

pub(super) fn status(state: &State, repo: &str, slot: u32, contended: bool) -> Vec<Answer> {
    let Some(session) = state.session(slot, repo) else { return vec![Answer::error(404, NO_SESSION)] };
    vec![so_far(204, session, repo, contended)]
}

pub(super) fn cancel(state: &State, repo: &str, slot: u32) -> Vec<Answer> {
    if state.session(slot, repo).is_none() {
        return vec![Answer::error(404, NO_SESSION)];
    }
    vec![Answer::new(204).effect(Effect::End { slot })]
}

pub(super) fn close(
    state: &State,
    repo: &str,
    slot: u32,
    digest: Option<&str>,
    last: Last<'_>,
    contended: bool,
) -> Vec<Answer> {
    let Some(session) = state.session(slot, repo) else {
        return close_again(state, repo, slot, digest, contended || last.range.is_some());
    };
    let content = last.bytes.map(Content::bytes).unwrap_or_default();
    let mut answers = range_faults(session, repo, last.range, content.len(), contended);
    let known = digest.map(|digest| (digest, grammar(digest)));
    let Some((digest, Grammar::Known(algorithm))) = known else {
        answers.push(bad_digest());
        return answers;
    };
    if contended && last.range.is_none() {
        answers.push(busy(session, repo));
    }
    if answers.iter().any(|answer| answer.status != 409) {
        return answers;
    }
    let bytes = [&session.bytes[..], &content].concat();
    if digest_of(algorithm, &bytes) == digest {
        let effect = Effect::Finish { slot, digest: digest.to_owned(), bytes: bytes.into() };
        answers.push(created(repo, digest).effect(effect));
    } else {
        answers.push(bad_digest().effect(Effect::End { slot }));
    }
    answers
}

/// A close repeated after a lost 201 (row 71). If it overlaps the first one or has a range, the session may also be
/// gone.
fn close_again(state: &State, repo: &str, slot: u32, digest: Option<&str>, unlike: bool) -> Vec<Answer> {
    let mut answers = Vec::new();
    let closed = state.closed.iter().find(|closed| closed.slot == slot && closed.repo == repo);
    if let (Some(closed), Some(digest)) = (closed, digest)
        && closed.digest == digest
        && state.repo(repo).is_some_and(|repo| repo.blobs.contains_key(digest))
    {
        answers.push(created(repo, digest));
        if !closed.vague && !unlike {
            return answers;
        }
    }
    if !digest.is_some_and(|digest| matches!(grammar(digest), Grammar::Known(_))) {
        answers.push(bad_digest());
    }
    answers.push(Answer::error(404, NO_SESSION));
    answers
}

/// The faults of a `Content-Range` (rows 52, 55, 56); empty for a chunk in order.
fn range_faults(session: &Session, repo: &str, range: Option<&str>, length: usize, contended: bool) -> Vec<Answer> {
    let Some(range) = range else { return Vec::new() };
    let here = |status, code| Answer {
        headers: so_far(status, session, repo, contended).headers,
        ..Answer::error(status, &[code])
    };
    let mut faults = Vec::new();
    match bounds(range) {
        Some((first, last)) => {
            if first != session.bytes.len() {
                faults.push(here(416, "BLOB_UPLOAD_INVALID"));
            }
            if last - first + 1 != length {
                faults.push(here(400, "SIZE_INVALID"));
            }
        }
        None => faults.push(here(416, "BLOB_UPLOAD_INVALID")),
    }
    faults
}

/// The first and last byte in a `Content-Range`.
pub fn bounds(range: &str) -> Option<(usize, usize)> {
    let (first, last) = range.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

fn opened(repo: &str, slot: u32) -> Answer {
    let effect = Effect::Open { slot, repo: repo.to_owned() };
    progress(202, repo, 0).body(Body::Empty).effect(effect)
}

fn progress(status: u16, repo: &str, end: usize) -> Answer {
    Answer::new(status)
        .header("Location", Want::Starts(format!("/v2/{repo}/blobs/uploads/")))
        .is("Range", format!("0-{}", end.saturating_sub(1)))
}

/// The state of a session. While another request writes to it, its offset may be anything on the way.
fn so_far(status: u16, session: &Session, repo: &str, contended: bool) -> Answer {
    if !contended {
        return progress(status, repo, session.bytes.len());
    }
    Answer::new(status)
        .header("Location", Want::Starts(format!("/v2/{repo}/blobs/uploads/")))
        .header("Range", Want::Starts("0-".to_owned()))
}

/// Row 60.
fn busy(session: &Session, repo: &str) -> Answer {
    let headers = so_far(409, session, repo, true).headers;
    Answer { headers, ..Answer::error(409, &["BLOB_UPLOAD_INVALID"]) }
}

fn created(repo: &str, digest: &str) -> Answer {
    Answer::new(201).is("Location", format!("/v2/{repo}/blobs/{digest}")).is("Docker-Content-Digest", digest)
}

fn bad_digest() -> Answer {
    Answer::error(400, &["DIGEST_INVALID"])
}
