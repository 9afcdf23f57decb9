//! Errors of placement.

use backends::BackendError;
use tokio::task::JoinError;

use crate::content::Error;

/// Why a look at a piece of content failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The catalog or the disk failed, or the node stops. Content that is missing here has no copy elsewhere, so only a
    /// push restores it.
    #[error(transparent)]
    Local(#[from] Error),
    /// The backend returned other bytes than it was sent.
    #[error("the backend returned other bytes")]
    ReadBackDiffers,
}

impl From<JoinError> for Trouble {
    fn from(error: JoinError) -> Self {
        Trouble::Local(error.into())
    }
}

impl Trouble {
    /// True if a retry may soon succeed.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Trouble::Backend(error) => error.is_retryable(),
            Trouble::Local(error) => matches!(error, Error::Unavailable | Error::DiskFull | Error::Stopped),
            Trouble::ReadBackDiffers => false,
        }
    }
}
