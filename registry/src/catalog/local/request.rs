//! What waits for the writer.

use tokio::sync::oneshot;

use super::check::MOST_TAGS_AT_ONCE;
use crate::catalog::command::{Command, CommitError, Committed};

/// To the writer.
#[derive(Debug)]
pub(super) enum Message {
    /// Commit this.
    Commit(Request),
    /// Something changed: look around.
    Wake,
}

/// Commands that are carried out together or not at all, and who wants to know.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) commands: Vec<Command>,
    pub(super) answer: oneshot::Sender<Result<Committed, CommitError>>,
}

impl Request {
    /// True if all it does is free space: it may use the journal's reserve.
    pub(super) fn is_releasing(&self) -> bool {
        self.commands.iter().all(|command| match command {
            Command::UnlinkBlob { .. }
            | Command::CollectBlob { .. }
            | Command::DeleteManifest { .. }
            | Command::UntagManifest { .. }
            | Command::DeleteTag { .. }
            // Only what is known to be elsewhere can make room here.
            | Command::RecordUnitRoots { .. }
            | Command::RecordPlaced { .. }
            | Command::RecordAbandoned { .. }
            | Command::RecordReadBack { .. }
            | Command::RecordUnplaced { .. } => true,
            Command::LinkBlob { .. } | Command::MountBlob { .. } | Command::PutManifest { .. } => false,
        })
    }

    /// About how many facts and digests it will write.
    pub(super) fn weight(&self) -> usize {
        let weight = |command: &Command| match command {
            Command::PutManifest { manifest, tags, .. } => 1 + tags.len() + manifest.references.len(),
            Command::UntagManifest { .. } => MOST_TAGS_AT_ONCE,
            _ => 1,
        };
        self.commands.iter().map(weight).sum()
    }

    /// A caller that no longer waits does not hear it; what was done stays done.
    pub(super) fn answer(self, outcome: Result<Committed, CommitError>) {
        let _ = self.answer.send(outcome);
    }
}
