//! Errors of backends and of their sources, distinguished by their meaning for the caller.

use std::error::Error;
use std::io;
use std::time::Duration;

/// The backend's own error; for the log, not for decisions.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Reasons why a backend did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The backend says that it does not have the content. In a stream: no longer.
    #[error("not there")]
    NotFound,
    /// It refuses now and later: blocked content, rejected credentials, or a request that it does not accept.
    #[error("refused: {cause}")]
    Refused {
        /// The backend's own error.
        cause: Cause,
    },
    /// It is unavailable at the moment, unreachable, or broke off.
    #[error("unavailable: {cause}")]
    Unavailable {
        /// The time to stay away, if it gave one.
        retry_after: Option<Duration>,
        /// The backend's own error.
        cause: Cause,
    },
    /// It did not answer, or did not continue, in time.
    #[error("no {waited_for} within {after:?}")]
    TimedOut {
        /// The expected event.
        waited_for: &'static str,
        /// The length of the wait.
        after: Duration,
    },
    /// Its bytes do not match the content.
    #[error("corrupt: bytes {start} to {end} are not those of the content")]
    Corrupt {
        /// The start of the checked range, in bytes.
        start: u64,
        /// The end of the checked range, in bytes.
        end: u64,
    },
    /// The content is longer than it accepts.
    #[error("too large: it takes {limit} bytes at most")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// It has no room left.
    #[error("full: {cause}")]
    Full {
        /// The backend's own error.
        cause: Cause,
    },
    /// It broke the protocol in a way that no honest backend does, such as another address than the bytes have.
    #[error("misbehaves: {cause}")]
    Misbehaves {
        /// The violation.
        cause: Cause,
    },
    /// It is not the configured backend, such as one of another profile.
    #[error("not the backend that is configured: {cause}")]
    Unsuitable {
        /// The difference.
        cause: Cause,
    },
    /// The bytes to be stored could not be read, or do not match the content: a local fault.
    #[error("the source: {0}")]
    Source(#[from] SourceError),
    /// The range does not lie within the content: the caller's mistake.
    #[error("{start}..{end} is not within {length} bytes")]
    OutOfRange {
        /// The start of the range, in bytes.
        start: u64,
        /// The end of the range, in bytes.
        end: u64,
        /// Length of the content in bytes.
        length: u64,
    },
    /// The content is longer than one unit, and a part of it cannot be verified without a proof of its units.
    #[error("no proof of the units is known")]
    NoUnitProof,
}

/// The bytes to be stored could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The content was removed meanwhile.
    #[error("gone")]
    Gone,
    /// They do not match the digest, or a proof of units.
    #[error("bytes {start} to {end} are not those of the content")]
    Damaged {
        /// The start of the checked range, in bytes.
        start: u64,
        /// The end of the checked range, in bytes.
        end: u64,
    },
    /// The disk failed to read them.
    #[error("read: {0}")]
    Io(#[from] io::Error),
}

impl BackendError {
    /// True if a retry at this backend may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            BackendError::Unavailable { .. } | BackendError::TimedOut { .. } | BackendError::Full { .. } => true,
            BackendError::NotFound
            | BackendError::Refused { .. }
            | BackendError::Corrupt { .. }
            | BackendError::TooLarge { .. }
            | BackendError::Misbehaves { .. }
            | BackendError::Unsuitable { .. }
            | BackendError::Source(_)
            | BackendError::OutOfRange { .. }
            | BackendError::NoUnitProof => false,
        }
    }

    /// The time to stay away, if the backend gave one.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            BackendError::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// True if another copy of the content may still serve the request: the fault is this backend's, not the request's.
    pub fn concerns_backend_only(&self) -> bool {
        !matches!(self, BackendError::Source(_) | BackendError::OutOfRange { .. } | BackendError::NoUnitProof)
    }

    /// A short name, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            BackendError::NotFound => "not_found",
            BackendError::Refused { .. } => "refused",
            BackendError::Unavailable { .. } => "unavailable",
            BackendError::TimedOut { .. } => "timed_out",
            BackendError::Corrupt { .. } => "corrupt",
            BackendError::TooLarge { .. } => "too_large",
            BackendError::Full { .. } => "full",
            BackendError::Misbehaves { .. } => "misbehaves",
            BackendError::Unsuitable { .. } => "unsuitable",
            BackendError::Source(_) => "source",
            BackendError::OutOfRange { .. } => "out_of_range",
            BackendError::NoUnitProof => "no_unit_proof",
        }
    }
}
