//! Turns commands into facts. Preconditions are checked against the state after the earlier commands of the batch.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use super::index::source::Source;
use super::index::{Fault, Index, Stamp, View, project, queries};
use crate::catalog::command::{Command, Precondition, Refusal};
use crate::catalog::fact::{Fact, ManifestRecord, Visibility};
use crate::oci::{Digest, FixedTags, Reference, RepositoryName, Tag};

/// Most manifests listed by a [`Refusal::BlobReferenced`].
const NAMED_REFERRING: usize = 10;

/// Most tags of a manifest removed in one batch. It limits how long other requests wait for the writer. This many facts
/// with the longest names fill half of the journal's reserve for a full disk.
pub(super) const MOST_TAGS_AT_ONCE: usize = 1024;

/// The facts of one batch, and the index as it will be after them.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub(super) view: View<'a>,
    pub(super) facts: Vec<Fact>,
    /// Stamp of the first fact.
    pub(super) first: Stamp,
    /// Tags that the current request moves, each with its previous manifest.
    moved: Vec<(Tag, Digest)>,
}

/// An accepted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Range of its facts in the batch.
    pub(super) facts: Range<usize>,
    /// Content that is unreferenced after it.
    pub(super) orphaned: Vec<Digest>,
    /// Tags that it moves, each with its previous manifest.
    pub(super) moved: Vec<(Tag, Digest)>,
}

/// Why a request was not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejection {
    /// The request is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The index failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl<'a> Batch<'a> {
    /// An empty batch. `first` is the stamp of its first fact. The others share its time.
    pub(super) fn new(index: &'a Index, first: Stamp) -> Self {
        Batch { view: View::new(index), facts: Vec::new(), first, moved: Vec::new() }
    }

    /// Adds the facts of all commands of a request, or of none.
    pub(super) fn add(&mut self, commands: &[Command]) -> Result<Accepted, Rejection> {
        let (point, start) = (self.view.rollback_point(), self.facts.len());
        let outcome = commands.iter().try_for_each(|command| self.carry_out(command));
        let outcome = outcome.and_then(|()| self.release_orphans(start));
        let moved = std::mem::take(&mut self.moved);
        match outcome {
            Ok(orphaned) => Ok(Accepted { facts: start..self.facts.len(), orphaned, moved }),
            Err(rejection) => {
                self.view.roll_back(point);
                self.facts.truncate(start);
                Err(rejection)
            }
        }
    }

    /// Like [`Batch::add`], but leaves out a request that changes something, and returns `None` for it.
    pub(super) fn add_if_nothing_changes(&mut self, commands: &[Command]) -> Result<Option<Accepted>, Rejection> {
        let (point, start) = (self.view.rollback_point(), self.facts.len());
        let accepted = self.add(commands)?;
        if accepted.facts.is_empty() {
            return Ok(Some(accepted));
        }
        self.view.roll_back(point);
        self.facts.truncate(start);
        Ok(None)
    }

    fn carry_out(&mut self, command: &Command) -> Result<(), Rejection> {
        match command {
            Command::CreateRepository { repository, visibility } => self.create_repository(repository, *visibility),
            Command::SetVisibility { repository, visibility } => self.set_visibility(repository, *visibility),
            Command::LinkBlob { repository, digest, size } => self.link_blob(repository, digest, *size),
            Command::MountBlob { repository, digest, from } => {
                let size = queries::blob(&self.view, from, digest)?.ok_or(Refusal::BlobUnknown)?;
                self.link_blob(repository, digest, size)
            }
            Command::UnlinkBlob { repository, digest, even_if_referenced, precondition } => {
                self.unlink_blob(repository, digest, *even_if_referenced, precondition.as_ref())
            }
            Command::CollectBlob { repository, digest } => self.collect_blob(repository, digest),
            Command::PutManifest { repository, digest, manifest, required, compare, tags, fixed, precondition } => {
                if let Some(precondition) = precondition {
                    check_of_put(&self.view, repository, precondition)?;
                }
                check_content(&self.view, repository, (digest, manifest.size), required, compare)?;
                self.put_manifest(repository, digest, manifest, tags, fixed)
            }
            Command::DeleteManifest { repository, digest, precondition, fixed } => {
                self.delete_manifest(repository, digest, precondition.as_ref(), fixed)
            }
            Command::UntagManifest { repository, digest, fixed } => self.untag_manifest(repository, digest, fixed),
            Command::DeleteTag { repository, tag, precondition, fixed } => {
                self.delete_tag(repository, tag, precondition.as_ref(), fixed)
            }
            Command::RecordUnitRoots { digest, list, units } => self.record_unit_roots(digest, list, *units),
            Command::RecordPlaced { digest, locator } => self.record_placed(digest, locator),
            Command::RecordAbandoned { digest, locator } => self.record_abandoned(digest, locator),
            Command::RecordReadBack { digest, locator, placed, among } => {
                self.record_read_back(digest, locator, *placed, among)
            }
            Command::RecordMissing { digest, locator, standing } => self.record_missing(digest, locator, *standing),
            Command::RecordUnplaced { digest, locator, standing } => self.record_unplaced(digest, locator, *standing),
        }
    }

    fn link_blob(&mut self, repository: &RepositoryName, digest: &Digest, size: u64) -> Result<(), Rejection> {
        if queries::blob(&self.view, repository, digest)?.is_some() {
            return Ok(());
        }
        self.ensure_repository(repository)?;
        self.record(Fact::BlobLinked { repository: repository.clone(), digest: digest.clone(), size })
    }

    fn unlink_blob(
        &mut self,
        repository: &RepositoryName,
        digest: &Digest,
        even_if_referenced: bool,
        precondition: Option<&Precondition>,
    ) -> Result<(), Rejection> {
        self.require_repository(repository)?;
        if queries::blob(&self.view, repository, digest)?.is_none() {
            return Err(Refusal::BlobUnknown.into());
        }
        check_precondition(precondition, Some(digest))?;
        if !even_if_referenced {
            let referring = queries::referring(&self.view, repository, digest, NAMED_REFERRING)?;
            if !referring.is_empty() {
                return Err(Refusal::BlobReferenced(referring).into());
            }
        }
        self.record(Fact::BlobUnlinked { repository: repository.clone(), digest: digest.clone() })
    }

    fn collect_blob(&mut self, repository: &RepositoryName, digest: &Digest) -> Result<(), Rejection> {
        let linked = queries::blob(&self.view, repository, digest)?.is_some();
        if !linked || !queries::referring(&self.view, repository, digest, 1)?.is_empty() {
            return Ok(());
        }
        self.record(Fact::BlobUnlinked { repository: repository.clone(), digest: digest.clone() })
    }

    fn put_manifest(
        &mut self,
        repository: &RepositoryName,
        digest: &Digest,
        manifest: &ManifestRecord,
        tags: &[Tag],
        fixed: &FixedTags,
    ) -> Result<(), Rejection> {
        if queries::manifest(&self.view, repository, digest)?.as_ref() != Some(manifest) {
            self.ensure_repository(repository)?;
            let (repository, digest, manifest) = (repository.clone(), digest.clone(), manifest.clone());
            self.record(Fact::ManifestStored { repository, digest, manifest })?;
        }
        for tag in tags {
            let before = queries::tag(&self.view, repository, tag)?;
            if before.as_ref() == Some(digest) {
                continue;
            }
            if before.is_some() {
                check_fixed(fixed, tag)?;
            }
            self.moved.extend(before.map(|before| (tag.clone(), before)));
            let (repository, tag, digest) = (repository.clone(), tag.clone(), digest.clone());
            self.record(Fact::TagSet { repository, tag, digest })?;
        }
        Ok(())
    }

    fn delete_manifest(
        &mut self,
        repository: &RepositoryName,
        digest: &Digest,
        precondition: Option<&Precondition>,
        fixed: &FixedTags,
    ) -> Result<(), Rejection> {
        self.require_repository(repository)?;
        if queries::manifest(&self.view, repository, digest)?.is_none() {
            return Err(Refusal::ManifestUnknown.into());
        }
        check_precondition(precondition, Some(digest))?;
        let tags = queries::tags_of(&self.view, repository, digest, None, MOST_TAGS_AT_ONCE + 1)?;
        tags.iter().try_for_each(|tag| check_fixed(fixed, tag))?;
        if tags.len() > MOST_TAGS_AT_ONCE {
            return Err(Refusal::TooManyTags.into());
        }
        // Tags first, so that no prefix of these facts leaves a tag without its manifest.
        self.delete_tags(repository, tags)?;
        self.record(Fact::ManifestDeleted { repository: repository.clone(), digest: digest.clone() })
    }

    fn untag_manifest(
        &mut self,
        repository: &RepositoryName,
        digest: &Digest,
        fixed: &FixedTags,
    ) -> Result<(), Rejection> {
        let tags = queries::tags_of(&self.view, repository, digest, None, MOST_TAGS_AT_ONCE)?;
        tags.iter().try_for_each(|tag| check_fixed(fixed, tag))?;
        self.delete_tags(repository, tags)
    }

    fn delete_tags(&mut self, repository: &RepositoryName, tags: Vec<Tag>) -> Result<(), Rejection> {
        tags.into_iter().try_for_each(|tag| self.record(Fact::TagDeleted { repository: repository.clone(), tag }))
    }

    fn delete_tag(
        &mut self,
        repository: &RepositoryName,
        tag: &Tag,
        precondition: Option<&Precondition>,
        fixed: &FixedTags,
    ) -> Result<(), Rejection> {
        self.require_repository(repository)?;
        let Some(digest) = queries::tag(&self.view, repository, tag)? else {
            return Err(Refusal::TagUnknown.into());
        };
        check_precondition(precondition, Some(&digest))?;
        check_fixed(fixed, tag)?;
        self.record(Fact::TagDeleted { repository: repository.clone(), tag: tag.clone() })
    }

    fn require_repository(&self, repository: &RepositoryName) -> Result<(), Rejection> {
        match queries::repository(&self.view, repository)? {
            Some(_) => Ok(()),
            None => Err(Refusal::RepositoryUnknown.into()),
        }
    }

    fn ensure_repository(&mut self, repository: &RepositoryName) -> Result<(), Rejection> {
        self.create_repository(repository, Visibility::default())
    }

    fn create_repository(&mut self, repository: &RepositoryName, visibility: Visibility) -> Result<(), Rejection> {
        match queries::repository(&self.view, repository)? {
            Some(_) => Ok(()),
            None => self.record(Fact::Repository { repository: repository.clone(), visibility }),
        }
    }

    fn set_visibility(&mut self, repository: &RepositoryName, visibility: Visibility) -> Result<(), Rejection> {
        match queries::repository(&self.view, repository)? {
            None => Err(Refusal::RepositoryUnknown.into()),
            Some(before) if before == visibility => Ok(()),
            Some(_) => self.record(Fact::Repository { repository: repository.clone(), visibility }),
        }
    }

    pub(super) fn record(&mut self, fact: Fact) -> Result<(), Rejection> {
        project(&fact, self.stamp(), &mut self.view)?;
        self.facts.push(fact);
        Ok(())
    }

    /// Stamp of the next fact.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp { sequence: self.first.sequence + self.facts.len() as u64, ..self.first }
    }

    /// Content, including lists of unit roots, that the facts from `start` on left unreferenced.
    pub(super) fn orphans(&self, start: usize) -> Result<Vec<Digest>, Fault> {
        let mut orphaned = Vec::new();
        for fact in &self.facts[start..] {
            let (Fact::BlobUnlinked { digest, .. }
            | Fact::ManifestDeleted { digest, .. }
            | Fact::UnitRoots { list: digest, units: 0, .. }) = fact
            else {
                continue;
            };
            if !orphaned.contains(digest) && !queries::is_referenced(&self.view, digest)? {
                orphaned.push(digest.clone());
            }
        }
        Ok(orphaned)
    }
}

/// Refuses a request whose condition does not hold for the existing version.
fn check_precondition(precondition: Option<&Precondition>, current: Option<&Digest>) -> Result<(), Refusal> {
    let holds = precondition.is_none_or(|precondition| precondition.holds(current));
    if holds { Ok(()) } else { Err(Refusal::PreconditionFailed) }
}

/// Refuses a request that would move or remove a tag that must stay.
fn check_fixed(fixed: &FixedTags, tag: &Tag) -> Result<(), Refusal> {
    if fixed.has(tag) { Err(Refusal::TagFixed(tag.clone())) } else { Ok(()) }
}

/// Checks the condition of a PUT against what its URL names now.
fn check_of_put(
    source: &impl Source,
    repository: &RepositoryName,
    (reference, precondition): &(Reference, Precondition),
) -> Result<(), Rejection> {
    let current = match reference {
        Reference::Tag(tag) => queries::tag(source, repository, tag)?,
        Reference::Digest(digest) => queries::manifest_head(source, repository, digest)?.map(|_| digest.clone()),
    };
    Ok(check_precondition(Some(precondition), current.as_ref())?)
}

/// Checks that the content which a manifest requires is there, and has the stated sizes. Each digest is looked up once.
fn check_content(
    source: &impl Source,
    repository: &RepositoryName,
    (own_digest, own_size): (&Digest, u64),
    required: &[Digest],
    compare: &[(Digest, u64)],
) -> Result<(), Rejection> {
    let mut sizes = HashMap::from([(own_digest, Some(own_size))]);
    let mut missing = Vec::new();
    for digest in required {
        let Entry::Vacant(new) = sizes.entry(digest) else { continue };
        if new.insert(queries::content_size(source, repository, digest)?).is_none() {
            missing.push(digest.clone());
        }
    }
    if !missing.is_empty() {
        return Err(Refusal::ReferencesMissing(missing).into());
    }
    for (digest, stated) in compare {
        let stored = match sizes.entry(digest) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(queries::content_size(source, repository, digest)?),
        };
        if let Some(stored) = stored
            && stored != *stated
        {
            return Err(Refusal::SizeMismatch { digest: digest.clone(), stated: *stated, stored }.into());
        }
    }
    Ok(())
}

/// Checks a manifest before it waits for the writer, which checks it again in commit order.
pub(super) fn check_put(source: &impl Source, command: &Command) -> Result<(), Rejection> {
    let Command::PutManifest { repository, digest, manifest, required, compare, precondition, .. } = command else {
        return Ok(());
    };
    if let Some(precondition) = precondition {
        check_of_put(source, repository, precondition)?;
    }
    check_content(source, repository, (digest, manifest.size), required, compare)
}
