//! What each action needs: the only table of rights. An action without a row does not compile.

use super::action::Action;
use crate::access::{Need, Right};
use crate::oci::{Reference, RepositoryName, Tag};

impl Action<'_> {
    /// What a caller needs for this action.
    pub(crate) fn need(&self) -> Need<'_> {
        match *self {
            // Where tokens are issued, the login is checked.
            Action::Live
            | Action::Ready
            | Action::Metrics
            | Action::GetToken
            | Action::PostToken
            | Action::TokenKeys => Need::Nothing,
            Action::Base | Action::DiscoverExtensions => Need::Login,
            Action::ListRepositories | Action::Home => Need::List,
            Action::ListTags(name)
            | Action::ListReferrers(name, _)
            | Action::GetBlob(name, _)
            | Action::HeadBlob(name, _) => of(name, Right::Pull, None),
            Action::GetManifest(name, reference) | Action::HeadManifest(name, reference) => {
                of(name, Right::Pull, tag(reference))
            }
            // Cancelling an upload deletes no content.
            Action::BeginUpload(name)
            | Action::UploadProgress(name, _)
            | Action::AppendUpload(name, _)
            | Action::CloseUpload(name, _)
            | Action::CancelUpload(name, _) => of(name, Right::Push, None),
            Action::PutManifest(name, reference) => of(name, Right::Push, tag(reference)),
            Action::DeleteManifest(name, reference) => of(name, Right::Delete, tag(reference)),
            Action::DeleteBlob(name, _) => of(name, Right::Delete, None),
        }
    }
}

fn of<'a>(repository: &'a RepositoryName, right: Right, tag: Option<&'a Tag>) -> Need<'a> {
    Need::Repository { repository, right, tag }
}

fn tag(reference: &Reference) -> Option<&Tag> {
    match reference {
        Reference::Tag(tag) => Some(tag),
        Reference::Digest(_) => None,
    }
}
