//! Errors of a fetch.

use crate::content;

/// Why content could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No copy can be read now.
    #[error("the content is stored elsewhere and cannot be had now, try again soon")]
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
