//! Mounts: links a blob of another repository into a repository (end-11).

use super::{Error, Registry};
use crate::catalog::command::{Command, CommitError, Refusal};
use crate::oci::{Digest, RepositoryName};

/// Most repositories tried if the client names none. More are hardly needed: only a delete in between makes one fail.
const CANDIDATES: usize = 4;

impl Registry {
    /// True if the repository now has the blob. A failed mount is no error: the client uploads instead.
    pub(super) async fn mount(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<RepositoryName>,
    ) -> Result<bool, Error> {
        if !self.touch(repository, digest).await? {
            return Ok(false);
        }
        let mounted = self.mount_from_any(repository, digest, from).await;
        if !matches!(mounted, Ok(true)) && self.catalog().blob(repository, digest)?.is_none() {
            self.grace.forget(repository, digest);
        }
        mounted
    }

    async fn mount_from_any(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<RepositoryName>,
    ) -> Result<bool, Error> {
        let sources = if let Some(from) = from {
            vec![from]
        } else {
            let wanted = digest.clone();
            self.reading(move |catalog| Ok(catalog.holders(&wanted, CANDIDATES)?)).await?
        };
        for from in sources {
            if self.is_overdue(&from, digest)? {
                continue;
            }
            // A mount of content whose file is lost would keep the client from uploading it again.
            match self.catalog().blob(&from, digest)? {
                Some(size) if self.content.is_whole(digest, size).await? || self.is_placed(digest)? => {}
                _ => continue,
            }
            if self.catalog().blob(repository, digest)?.is_none() {
                self.grace.inherit(&from, repository, digest);
            }
            let command = Command::MountBlob { repository: repository.clone(), digest: digest.clone(), from };
            match self.catalog().commit(vec![command]).await {
                Ok(_) => return Ok(true),
                Err(CommitError::Refused(Refusal::BlobUnknown | Refusal::RepositoryUnknown)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}
