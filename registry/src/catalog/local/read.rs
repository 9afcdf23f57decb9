//! Reads of the catalog. Point reads take tens of microseconds and may be called anywhere. Page reads belong on
//! blocking threads. A read that meets damage returns [`ReadError::Rebuilding`], until the index is rebuilt.

use super::Catalog;
use super::check::{Rejection, check_put};
use super::index::value::ManifestHead;
use super::index::{Fault, Index, queries};
use crate::catalog::command::{Command, CommitError, ReadError};
use crate::catalog::fact::{ManifestRecord, Visibility};
use crate::catalog::page::Page;
use crate::oci::{Digest, RepositoryName, Tag};

impl Catalog {
    /// Checks a [`Command::PutManifest`] against the current state, so that the writer gets only those that were right
    /// a moment ago. It checks them again, in commit order.
    pub fn check_put(&self, command: &Command) -> Result<(), CommitError> {
        let checked = self.read(|index| match check_put(index, command) {
            Ok(()) => Ok(Ok(())),
            Err(Rejection::Refused(refusal)) => Ok(Err(refusal)),
            Err(Rejection::Fault(fault)) => Err(fault),
        });
        match checked {
            Ok(outcome) => Ok(outcome?),
            Err(ReadError::Rebuilding) => Err(CommitError::Unavailable),
        }
    }

    /// The visibility of a repository; `None` if it does not exist.
    pub fn repository(&self, repository: &RepositoryName) -> Result<Option<Visibility>, ReadError> {
        self.read(|index| queries::repository(index, repository))
    }

    /// The size of a blob; `None` if the repository does not have it.
    pub fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>, ReadError> {
        self.read(|index| queries::blob(index, repository, digest))
    }

    /// A manifest's record; `None` if the repository does not have it.
    pub fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<ManifestRecord>, ReadError> {
        self.read(|index| queries::manifest(index, repository, digest))
    }

    /// Media type and length of a manifest; `None` if the repository does not have it.
    pub fn manifest_head(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<ManifestHead>, ReadError> {
        self.read(|index| queries::manifest_head(index, repository, digest))
    }

    /// The digest that a tag points to.
    pub fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, ReadError> {
        self.read(|index| queries::tag(index, repository, tag))
    }

    /// When a tag was set to a manifest, in milliseconds since the Unix epoch, if known.
    pub fn tag_set_at(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tag: &Tag,
    ) -> Result<Option<u64>, ReadError> {
        self.read(|index| queries::tag_set_at(index, repository, digest, tag))
    }

    /// Tags after `after`, which need not exist, in byte order.
    pub fn tags(&self, repository: &RepositoryName, after: Option<&str>, limit: usize) -> Result<Page<Tag>, ReadError> {
        self.read(|index| queries::tags(index, repository, after, limit))
    }

    /// All repositories after `after`, which need not exist, in byte order.
    pub fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<RepositoryName>, ReadError> {
        self.read(|index| queries::repositories(index, false, after, limit))
    }

    /// Repositories with at least one manifest, after `after`, in byte order.
    pub fn catalogued(&self, after: Option<&str>, limit: usize) -> Result<Page<RepositoryName>, ReadError> {
        self.read(|index| queries::repositories(index, true, after, limit))
    }

    /// Manifests by digest.
    pub fn manifests(
        &self,
        repository: &RepositoryName,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<(Digest, ManifestRecord)>, ReadError> {
        self.read(|index| queries::manifests(index, repository, after, limit))
    }

    /// Blobs with their sizes, by digest.
    pub fn blobs(
        &self,
        repository: &RepositoryName,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<(Digest, u64)>, ReadError> {
        self.read(|index| queries::blobs(index, repository, after, limit))
    }

    /// Manifests with this subject, which need not exist, by digest: at least one if there are any, and then as many as
    /// fit into `bytes` of records.
    pub fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        after: Option<&Digest>,
        limit: usize,
        bytes: usize,
    ) -> Result<Page<(Digest, ManifestRecord)>, ReadError> {
        self.read(|index| queries::referrers(index, repository, subject, after, limit, bytes))
    }

    /// Tags after `after` that point to a manifest, in byte order. `after` need not exist.
    pub fn tags_of(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        after: Option<&Tag>,
        limit: usize,
    ) -> Result<Vec<Tag>, ReadError> {
        self.read(|index| queries::tags_of(index, repository, digest, after, limit))
    }

    /// The first manifests that reference this content.
    pub fn referring(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        limit: usize,
    ) -> Result<Vec<Digest>, ReadError> {
        self.read(|index| queries::referring(index, repository, digest, limit))
    }

    /// The first repositories that have this content as a blob.
    pub fn holders(&self, digest: &Digest, limit: usize) -> Result<Vec<RepositoryName>, ReadError> {
        self.read(|index| queries::holders(index, digest, limit))
    }

    /// True if any repository has this content, as a blob or a manifest, or if it is a list of unit roots.
    pub fn is_referenced(&self, digest: &Digest) -> Result<bool, ReadError> {
        self.read(|index| queries::is_referenced(index, digest))
    }

    pub(super) fn read<T>(&self, query: impl FnOnce(&Index) -> Result<T, Fault>) -> Result<T, ReadError> {
        let index = self.inner.shared.index().ok_or(ReadError::Rebuilding)?;
        query(&index).map_err(|fault| {
            self.distrust(&index, &fault);
            ReadError::Rebuilding
        })
    }
}
