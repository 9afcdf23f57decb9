//! What can go wrong between us and a backend, by what it means for the one who asked.

use std::error::Error;
use std::time::Duration;

use super::SourceError;

/// What a backend's own error says; for the log, not for decisions.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a backend did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// It says that it does not have it. Of a stream: no longer.
    #[error("not there")]
    NotFound,
    /// It will not, now or later: blocked content, credentials that are not accepted, a request that it does not take.
    #[error("refused: {cause}")]
    Refused {
        /// In whose words.
        cause: Cause,
    },
    /// It cannot at the moment, or could not be reached, or broke off.
    #[error("unavailable: {cause}")]
    Unavailable {
        /// How long to stay away, where it said so.
        retry_after: Option<Duration>,
        /// In whose words.
        cause: Cause,
    },
    /// It did not answer, or did not go on, in time.
    #[error("no {waited_for} within {after:?}")]
    TimedOut {
        /// What did not come.
        waited_for: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The bytes that it gave are not those that were asked for.
    #[error("corrupt: bytes {start} to {end} are not those of the content")]
    Corrupt {
        /// Where what was checked begins.
        start: u64,
        /// Where it ends.
        end: u64,
    },
    /// The content is longer than it takes.
    #[error("too large: it takes {limit} bytes at most")]
    TooLarge {
        /// The longest that it takes.
        limit: u64,
    },
    /// It has no room left.
    #[error("full: {cause}")]
    Full {
        /// In whose words.
        cause: Cause,
    },
    /// It broke the protocol in a way that no honest backend does, such as another address than the bytes have.
    #[error("misbehaves: {cause}")]
    Misbehaves {
        /// How.
        cause: Cause,
    },
    /// It is not the backend that the configuration means, such as one of another profile.
    #[error("not the backend that is configured: {cause}")]
    Unsuitable {
        /// Why not.
        cause: Cause,
    },
    /// The bytes to be stored could not be had, or are not the content's: our side's fault.
    #[error("the source: {0}")]
    Source(#[from] SourceError),
    /// The range does not lie within the content: the caller's mistake.
    #[error("{start}..{end} is not within {length} bytes")]
    OutOfRange {
        /// Where it begins.
        start: u64,
        /// Where it ends.
        end: u64,
        /// How long the content is.
        length: u64,
    },
    /// The content is above one unit and its roots are not known, without which this cannot be done.
    #[error("the unit roots are not known")]
    UnitRootsUnknown,
}

impl BackendError {
    /// True if the same request at the same backend may go well later.
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
            | BackendError::UnitRootsUnknown => false,
        }
    }

    /// How long to stay away, where the backend said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            BackendError::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// True if another copy of the same content may still do: the fault lies with this backend, not with the request.
    pub fn concerns_backend_only(&self) -> bool {
        !matches!(self, BackendError::Source(_) | BackendError::OutOfRange { .. } | BackendError::UnitRootsUnknown)
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
            BackendError::UnitRootsUnknown => "unit_roots_unknown",
        }
    }
}
