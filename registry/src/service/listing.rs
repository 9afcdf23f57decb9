//! Lists of names: tags of a repository, repositories of the registry (end-8 and `_catalog`).

use super::{Error, MayPull, Registry};
use crate::catalog::command::Command;
use crate::catalog::fact::Visibility;
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Names {
    /// At most as many as requested.
    pub names: Vec<RepositoryName>,
    /// True if more follow.
    pub more: bool,
}

/// Names that are read in one go.
const BATCH: usize = 1000;

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

    /// Sets who may see a repository, for the operator.
    pub async fn set_visibility(&self, repository: &RepositoryName, visibility: Visibility) -> Result<(), Error> {
        let command = Command::SetVisibility { repository: repository.clone(), visibility };
        self.catalog().commit(vec![command]).await?;
        tracing::info!(%repository, ?visibility, "the visibility of a repository was set");
        Ok(())
    }

    /// Repositories with a manifest that the caller may see, after `last`, which need not exist. Names that it may not see
    /// have no effect on the answer.
    pub async fn repositories(&self, last: Option<String>, limit: usize, visible: MayPull) -> Result<Names, Error> {
        self.reading(move |catalog| {
            let (mut names, mut last) = (Vec::new(), last);
            loop {
                let page = catalog.catalogued(last.as_deref(), BATCH)?;
                last = page.items.last().map(ToString::to_string);
                // One more than asked for says whether there are more.
                let room = (limit + 1).saturating_sub(names.len());
                names.extend(page.items.into_iter().filter(|name| visible.from(name)).take(room));
                if names.len() > limit || !page.more {
                    let more = names.len() > limit;
                    names.truncate(limit);
                    return Ok(Names { names, more });
                }
            }
        })
        .await
    }
}
