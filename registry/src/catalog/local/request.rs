//! Messages to the writer.

use std::time::Instant;

use tokio::sync::oneshot;

use super::check::MOST_TAGS_AT_ONCE;
use super::index::{Index, queries};
use crate::catalog::command::{Command, CommitError, Committed};
use crate::catalog::fact::{Annotations, ManifestRecord};

/// Weight at which a batch takes no further requests. It limits how long reads wait while sled applies the batch.
pub(super) const BATCH_WEIGHT: usize = 1024;

/// Bytes of text that weigh as much as a digest.
const BYTES_OF_A_DIGEST: usize = 64;

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
    /// Approximate number of facts and digests that it will write.
    pub(super) weight: usize,
    /// When it was made.
    pub(super) since: Instant,
    pub(super) answer: oneshot::Sender<Result<Committed, CommitError>>,
}

impl Request {
    /// A request made now. `index` says how large a manifest to be deleted is.
    pub(super) fn new(
        commands: Vec<Command>,
        index: Option<&Index>,
        answer: oneshot::Sender<Result<Committed, CommitError>>,
    ) -> Self {
        let weight = commands.iter().map(|command| weight(command, index)).sum();
        Request { commands, weight, since: Instant::now(), answer }
    }

    /// True if it fills more than a batch by itself.
    pub(super) fn is_large(&self) -> bool {
        self.weight > BATCH_WEIGHT
    }

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
            | Command::RecordMissing { .. }
            | Command::RecordUnplaced { .. } => true,
            Command::CreateRepository { .. }
            | Command::SetVisibility { .. }
            | Command::LinkBlob { .. }
            | Command::MountBlob { .. }
            | Command::PutManifest { .. } => false,
        })
    }

    /// Sends the answer. If the caller has left, the commit stays in force.
    pub(super) fn answer(self, outcome: Result<Committed, CommitError>) {
        let _ = self.answer.send(outcome);
    }
}

fn weight(command: &Command, index: Option<&Index>) -> usize {
    match command {
        Command::PutManifest { manifest, tags, .. } => 1 + tags.len() + weight_of(manifest),
        Command::UntagManifest { .. } => MOST_TAGS_AT_ONCE,
        // A fault shows again when the writer reads the record.
        Command::DeleteManifest { repository, digest, .. } => {
            let stored = index.and_then(|index| queries::manifest_bytes(index, repository, digest).ok().flatten());
            1 + stored.unwrap_or(0) / BYTES_OF_A_DIGEST
        }
        _ => 1,
    }
}

fn weight_of(manifest: &ManifestRecord) -> usize {
    let annotations = match &manifest.annotations {
        Annotations::Inline(all) => all.iter().map(|(key, value)| key.len() + value.len()).sum(),
        Annotations::None | Annotations::InBody => 0,
    };
    let text = manifest.artifact_type.as_ref().map_or(0, String::len) + annotations;
    manifest.references.len() + text / BYTES_OF_A_DIGEST
}
