//! Faults of peers.

use http::StatusCode;

/// Reasons why a peer gave nothing usable.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    /// The peer says that it does not have it.
    #[error("it is not there")]
    Absent,
    /// The peer is unreachable, broke off, or took too long.
    #[error("no answer")]
    NoAnswer(#[from] reqwest::Error),
    /// The peer answered neither with the requested thing nor that it is absent.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// The peer sent more bytes than requested.
    #[error("it sent more than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The bytes do not match the root.
    #[error("it sent other bytes than those asked for")]
    WrongBytes,
    /// The answer is not an entry of the requested id with a valid signature.
    #[error("it sent something else than the entry asked for")]
    WrongEntry,
    /// The thread that verified panicked, or the process ends.
    #[error("the check of what it sent was aborted")]
    Aborted(#[from] tokio::task::JoinError),
}

impl PeerError {
    /// True if an honest and healthy peer would not have done this.
    pub(super) fn is_suspicious(&self) -> bool {
        matches!(self, PeerError::TooLong { .. } | PeerError::WrongBytes | PeerError::WrongEntry)
    }

    /// True if a retry may succeed.
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
