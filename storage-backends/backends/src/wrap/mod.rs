//! Wrappers: functions that several backends need, each a backend itself around another one.
//!
//! From the outside in, `Breaker(Metrics(Verify(Retry(Limit(backend)))))` is the usual order. A retry waits for its
//! permit again, metrics count what the caller saw, all bytes are verified, and a backend with wrong bytes is no longer
//! asked.

mod breaker;
#[cfg(any(test, feature = "testing"))]
mod faults;
mod limit;
mod metrics;
mod retry;
mod verify;

#[cfg(test)]
mod tests;

pub use breaker::{Breaker, BreakerConfig};
#[cfg(any(test, feature = "testing"))]
pub use faults::{Fault, Faults};
pub use limit::{Limit, LimitConfig};
pub use metrics::{Call, Metrics, Observation, Observer, Outcome};
pub use retry::{Jitter, Retry, RetryConfig};
pub use verify::Verify;
