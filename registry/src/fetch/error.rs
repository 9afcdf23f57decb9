//! Errors of a fetch.

use crate::content;

/// Why content could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The backend cannot be read now.
    #[error("the content is only on portals that do not deliver it now, retry soon")]
    Unavailable,
    /// This node cannot take or record the content.
    #[error(transparent)]
    Local(#[from] content::Error),
}

impl From<crate::catalog::command::ReadError> for Error {
    fn from(error: crate::catalog::command::ReadError) -> Self {
        Error::Local(error.into())
    }
}
