//! Messages to the writer.

use tokio::sync::oneshot;

use super::check::MOST_TAGS_AT_ONCE;
use crate::catalog::command::{Command, CommitError, Committed};

/// A message to the writer.
#[derive(Debug)]
pub(super) enum Message {
    /// Commit a request.
    Commit(Request),
    /// Check for changes.
    Wake,
}

/// Commands that run together or not at all, and the channel for the answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) commands: Vec<Command>,
    pub(super) answer: oneshot::Sender<Result<Committed, CommitError>>,
}

impl Request {
    /// True if the request only frees space, so that it may use the journal's reserve.
    pub(super) fn is_releasing(&self) -> bool {
        self.commands.iter().all(|command| match command {
            Command::UnlinkBlob { .. }
            | Command::CollectBlob { .. }
            | Command::DeleteManifest { .. }
            | Command::UntagManifest { .. }
            | Command::DeleteTag { .. }
            // Records of copies count too: content can be evicted only if its copies are known.
            | Command::RecordUnitRoots { .. }
            | Command::RecordPlaced { .. }
            | Command::RecordAbandoned { .. }
            | Command::RecordReadBack { .. }
            | Command::RecordUnplaced { .. } => true,
            Command::LinkBlob { .. } | Command::MountBlob { .. } | Command::PutManifest { .. } => false,
        })
    }

    /// Approximate number of facts and digests that it will write.
    pub(super) fn weight(&self) -> usize {
        let weight = |command: &Command| match command {
            Command::PutManifest { manifest, tags, .. } => 1 + tags.len() + manifest.references.len(),
            Command::UntagManifest { .. } => MOST_TAGS_AT_ONCE,
            _ => 1,
        };
        self.commands.iter().map(weight).sum()
    }

    /// Sends the answer. If the caller has left, the commit stays in force.
    pub(super) fn answer(self, outcome: Result<Committed, CommitError>) {
        let _ = self.answer.send(outcome);
    }
}
