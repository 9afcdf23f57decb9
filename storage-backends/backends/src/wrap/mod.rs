//! Wrappers: what several backends need, each a backend itself around another one.
//!
//! From the outside in, `Breaker(Metrics(Verify(Retry(Limit(backend)))))` is the usual order: what is tried again waits
//! for its turn again, what is counted is what the caller saw, nothing comes out unverified, and who gives wrong bytes
//! is left alone.

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
