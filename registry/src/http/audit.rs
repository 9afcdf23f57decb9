//! What the audit journal gets of a request: changes, logins and denials.

use axum::body::Body;
use http::Response;

use super::action::Action;
use super::headers::DOCKER_CONTENT_DIGEST;
use super::request::{Answer, Request};
use crate::access::{Identity, Principal};
use crate::audit_journal::{Entry, Outcome, now};
use crate::oci::{Reference, RepositoryName};

/// What the journal must have of this request; `None`: nothing.
pub(super) fn entry_of(action: &Action<'_>, request: &Request, answer: &Answer) -> Option<Entry> {
    match answer {
        Ok(response) => match response.extensions().get::<Principal>() {
            Some(Principal { identity: Identity::Anonymous, .. }) => None,
            Some(caller) => Some(entry(action, request, caller, Outcome::LoggedIn)),
            None if changes(action) && response.status().is_success() => {
                let done = entry(action, request, &request.principal, Outcome::Done);
                Some(Entry { digest: pushed(response), ..done })
            }
            None => None,
        },
        Err(error) => error.is_denial.then(|| entry(action, request, &request.principal, Outcome::Denied)),
    }
}

/// True for what changes a repository for good. Blobs are only named by manifests, whose pushes are kept.
fn changes(action: &Action<'_>) -> bool {
    matches!(action, Action::PutManifest(..) | Action::DeleteManifest(..) | Action::DeleteBlob(..))
}

fn pushed(response: &Response<Body>) -> Option<String> {
    Some(response.headers().get(DOCKER_CONTENT_DIGEST)?.to_str().ok()?.to_owned())
}

fn entry(action: &Action<'_>, request: &Request, caller: &Principal, outcome: Outcome) -> Entry {
    let (what, repository, target) = about(action);
    let tags = match action {
        // Those of the query count as much as the one in the path.
        Action::PutManifest(_, Reference::Digest(_)) => request.query.all("tag").collect::<Vec<_>>().join(","),
        _ => String::new(),
    };
    Entry {
        time: now(),
        by: caller.identity.to_string(),
        token: caller.token.as_ref().map(|token| token.id.clone()),
        client: Some(request.caller.address.to_string()),
        request: Some(request.caller.request.to_string()),
        action: what.to_owned(),
        repository: repository.map(ToString::to_string),
        target: if tags.is_empty() { target } else { Some(tags) },
        digest: None,
        outcome,
        left_out: 0,
    }
}

/// What an action is, in words, and what it is about.
fn about<'a>(action: &Action<'a>) -> (&'static str, Option<&'a RepositoryName>, Option<String>) {
    match *action {
        Action::PutManifest(name, reference) => ("push", Some(name), Some(reference.to_string())),
        Action::DeleteManifest(name, reference) => ("delete", Some(name), Some(reference.to_string())),
        Action::DeleteBlob(name, digest) => ("delete", Some(name), Some(digest.to_string())),
        Action::GetManifest(name, reference) | Action::HeadManifest(name, reference) => {
            ("pull", Some(name), Some(reference.to_string()))
        }
        Action::GetBlob(name, digest) | Action::HeadBlob(name, digest) | Action::ListReferrers(name, digest) => {
            ("pull", Some(name), Some(digest.to_string()))
        }
        Action::ListTags(name) => ("pull", Some(name), None),
        Action::BeginUpload(name)
        | Action::UploadProgress(name, _)
        | Action::AppendUpload(name, _)
        | Action::CloseUpload(name, _)
        | Action::CancelUpload(name, _) => ("push", Some(name), None),
        Action::GetToken | Action::PostToken | Action::Base | Action::DiscoverExtensions => ("log in", None, None),
        Action::ListRepositories | Action::Home => ("list", None, None),
        Action::Live | Action::Ready | Action::Metrics | Action::TokenKeys => ("other", None, None),
    }
}
