//! What an action needs of its caller.

use crate::oci::{RepositoryName, Tag};

/// What may be done to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Read its content and lists.
    Pull,
    /// Upload, mount, and set new tags.
    Push,
    /// Move tags to other manifests. It is of no use without [`Right::Push`].
    Retag,
    /// Delete manifests, tags and blobs.
    Delete,
}

/// What an action needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// Nothing: it is for health checks and metrics.
    Nothing,
    /// A login, if any action needs one. Clients ask so whether they must log in.
    Login,
    /// To see the names of repositories.
    List,
    /// A right on a repository.
    Repository {
        /// The repository.
        repository: &'a RepositoryName,
        /// The right.
        right: Right,
        /// The tag that is set or deleted, if the path names one.
        tag: Option<&'a Tag>,
    },
}
