//! Why content could not be brought back.

use crate::content;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No copy can be read now.
    #[error("the content is stored elsewhere and cannot be had now, try again soon")]
    Unavailable,
    /// This node is at fault.
    #[error(transparent)]
    Local(#[from] content::Error),
}

impl From<crate::catalog::command::ReadError> for Error {
    fn from(error: crate::catalog::command::ReadError) -> Self {
        Error::Local(error.into())
    }
}
