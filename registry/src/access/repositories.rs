//! The visibility of a repository decides who may pull from it. The catalog keeps it.

use std::fmt;

use crate::catalog::command::ReadError;
use crate::catalog::fact::Visibility;
use crate::oci::RepositoryName;

type Lookup = dyn Fn(&RepositoryName) -> Result<Option<Visibility>, ReadError> + Send + Sync;

/// Looks up repositories.
pub struct Repositories(Box<Lookup>);

impl Repositories {
    /// Repositories as this function knows them; `None` is one that does not exist.
    pub fn by(
        lookup: impl Fn(&RepositoryName) -> Result<Option<Visibility>, ReadError> + Send + Sync + 'static,
    ) -> Self {
        Repositories(Box::new(lookup))
    }

    /// Repositories that are all public.
    #[cfg(test)]
    pub(crate) fn public() -> Self {
        Repositories::by(|_| Ok(Some(Visibility::Public)))
    }

    /// The visibility of a repository; `None` if it does not exist.
    pub(super) fn visibility(&self, repository: &RepositoryName) -> Result<Option<Visibility>, ReadError> {
        (self.0)(repository)
    }
}

impl fmt::Debug for Repositories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Repositories")
    }
}
