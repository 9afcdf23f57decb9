//! Wrappers: what several backends need, each a backend itself around another one.
//!
//! From the outside in, `Verify(Metrics(Retry(Limit(backend))))` is the usual order: what is tried again waits for its
//! turn again, what is counted is what the caller saw, and nothing comes out unverified.

#[cfg(any(test, feature = "testing"))]
mod faults;
mod limit;
mod metrics;
mod retry;
mod verify;

#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "testing"))]
pub use faults::{Fault, Faults};
pub use limit::{Limit, LimitConfig};
pub use metrics::{Call, Metrics, Observation, Observer, Outcome};
pub use retry::{Jitter, Retry, RetryConfig};
pub use verify::Verify;
