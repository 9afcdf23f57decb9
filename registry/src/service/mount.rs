//! Mounts: a repository comes to hold a blob that another one holds (end-11).

use super::{Error, Registry};
use crate::catalog::command::{Command, CommitError, Refusal};
use crate::oci::{Digest, RepositoryName};

/// How many holders are asked where the client names none: one that went away meanwhile is rare enough.
const CANDIDATES: usize = 4;

impl Registry {
    /// True if the repository holds the blob now. Anything that stands in the way is no error: the client uploads instead.
    pub(super) async fn mount(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<RepositoryName>,
    ) -> Result<bool, Error> {
        self.touch(repository, digest).await;
        let sources = if let Some(from) = from {
            vec![from]
        } else {
            let wanted = digest.clone();
            self.reading(move |catalog| Ok(catalog.holders(&wanted, CANDIDATES)?)).await?
        };
        for from in sources {
            // A mount of content whose file is lost would keep the client from bringing it back.
            match self.catalog().blob(&from, digest)? {
                Some(size) if self.content.is_whole(digest, size).await? || self.is_placed(digest)? => {}
                _ => continue,
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
