//! Lists of names: tags of a repository, repositories of the registry (end-8 and `_catalog`).

use super::{Error, Registry};
use crate::oci::{RepositoryName, Tag};

/// A page of tags in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    /// At most as many as requested.
    pub tags: Vec<Tag>,
    /// True if more follow.
    pub more: bool,
}

/// A page of repository names in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// At most as many as requested.
    pub names: Vec<RepositoryName>,
    /// True if more follow.
    pub more: bool,
}

impl Registry {
    /// Tags after `last`, which need not exist.
    pub async fn tags(&self, repository: &RepositoryName, last: Option<String>, limit: usize) -> Result<Tags, Error> {
        if self.catalog().repository(repository)?.is_none() {
            return Err(Error::RepositoryUnknown);
        }
        let repository = repository.clone();
        let page = self.reading(move |catalog| Ok(catalog.tags(&repository, last.as_deref(), limit)?)).await?;
        Ok(Tags { tags: page.items, more: page.more })
    }

    /// Repositories with a manifest, after `last`, which need not exist.
    pub async fn repositories(&self, last: Option<String>, limit: usize) -> Result<Names, Error> {
        let page = self.reading(move |catalog| Ok(catalog.catalogued(last.as_deref(), limit)?)).await?;
        Ok(Names { names: page.items, more: page.more })
    }
}
