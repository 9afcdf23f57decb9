//! Why a look at a piece of content did not end well.

use backends::BackendError;
use tokio::task::JoinError;

use crate::content::Error;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The backend says so.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The catalog or the disk does, or the node stops. If the content is missing here, nobody else has it: a push brings
    /// it back.
    #[error(transparent)]
    Local(#[from] Error),
    /// What came back is not what was sent.
    #[error("the backend gave back other bytes")]
    ReadBackDiffers,
}

impl From<JoinError> for Trouble {
    fn from(error: JoinError) -> Self {
        Trouble::Local(error.into())
    }
}

impl Trouble {
    /// True if the same attempt may go well soon.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Trouble::Backend(error) => error.is_retryable(),
            Trouble::Local(error) => matches!(error, Error::Unavailable | Error::DiskFull | Error::Stopped),
            Trouble::ReadBackDiffers => false,
        }
    }
}
