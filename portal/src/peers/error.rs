//! What a peer does wrong.

use http::StatusCode;

/// Why a peer gave nothing that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    /// It says that it does not have it.
    #[error("it is not there")]
    Absent,
    /// It cannot be reached, broke off, or took too long.
    #[error("no answer")]
    NoAnswer(#[from] reqwest::Error),
    /// Neither the thing nor that it is absent.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// More bytes than asked for.
    #[error("it sent more than {limit} bytes")]
    TooLong {
        /// Bytes.
        limit: usize,
    },
    /// Not the bytes that the root names.
    #[error("it sent other bytes than those asked for")]
    WrongBytes,
    /// Not an entry of the id asked for, with a good signature.
    #[error("it sent something else than the entry asked for")]
    WrongEntry,
    /// The thread that verified panicked, or the process ends.
    #[error("the check of what it sent was aborted")]
    Aborted(#[from] tokio::task::JoinError),
}

impl PeerError {
    /// Whether an honest and healthy peer would not have done this.
    pub(super) fn is_suspicious(&self) -> bool {
        matches!(self, PeerError::TooLong { .. } | PeerError::WrongBytes | PeerError::WrongEntry)
    }

    /// Whether the same may succeed later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            PeerError::NoAnswer(_) | PeerError::Aborted(_) => true,
            PeerError::Status(status) => {
                status.is_server_error()
                    || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }
            PeerError::Absent | PeerError::TooLong { .. } | PeerError::WrongBytes | PeerError::WrongEntry => false,
        }
    }
}
