//! Mounts: links a blob of another repository into a repository (end-11).

use std::fmt;
use std::sync::Arc;

use super::{Caller, Error, Registry};
use crate::catalog::command::{Command, CommitError, Refusal};
use crate::oci::{Digest, RepositoryName};

/// Decides which repositories a caller may pull: it may mount from them, and sees their names.
#[derive(Clone)]
pub struct MayPull(Arc<dyn Fn(&RepositoryName) -> bool + Send + Sync>);

impl MayPull {
    /// The repositories for which this is true.
    pub fn only(decide: impl Fn(&RepositoryName) -> bool + Send + Sync + 'static) -> Self {
        MayPull(Arc::new(decide))
    }

    pub(crate) fn from(&self, repository: &RepositoryName) -> bool {
        (self.0)(repository)
    }
}

impl fmt::Debug for MayPull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MayPull")
    }
}

/// Most repositories looked at if the client names none, since it may pull from few of them.
const LOOKED_AT: usize = 64;
/// Most repositories tried if the client names none. More are hardly needed: only a delete in between makes one fail.
const CANDIDATES: usize = 4;

impl Registry {
    /// True if the repository now has the blob. A failed mount is no error: the client uploads instead.
    pub(super) async fn mount(
        &self,
        caller: &Caller,
        repository: &RepositoryName,
        digest: &Digest,
        source: (Option<RepositoryName>, MayPull),
    ) -> Result<bool, Error> {
        if !self.touch(repository, digest).await? {
            return Ok(false);
        }
        let mounted = self.mount_from_any(caller, repository, digest, source).await;
        if !matches!(mounted, Ok(true)) && self.catalog().blob(repository, digest)?.is_none() {
            self.grace.forget(repository, digest);
        }
        mounted
    }

    async fn mount_from_any(
        &self,
        caller: &Caller,
        repository: &RepositoryName,
        digest: &Digest,
        (from, may_pull): (Option<RepositoryName>, MayPull),
    ) -> Result<bool, Error> {
        let sources = if let Some(from) = from {
            vec![from]
        } else {
            let wanted = digest.clone();
            self.reading(move |catalog| Ok(catalog.holders(&wanted, LOOKED_AT)?)).await?
        };
        for from in sources.into_iter().filter(|from| may_pull.from(from)).take(CANDIDATES) {
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
            match self.catalog().commit(vec![caller.creating(repository), command]).await {
                Ok(_) => return Ok(true),
                Err(CommitError::Refused(Refusal::BlobUnknown | Refusal::RepositoryUnknown)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}
