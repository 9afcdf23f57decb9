//! Wrappers: functions that several backends need, each a layer around another backend.
//!
//! From the outside in, `Breaker(Metrics(Verify(Retry(Limit(backend)))))` is the usual order. A retry waits for its
//! permit again, metrics count what the caller saw, all bytes are verified, and a backend with wrong bytes is no longer
//! asked.

mod breaker;
#[cfg(any(test, feature = "testing"))]
mod faults;
mod layer;
mod limit;
mod metrics;
mod retry;
mod verify;

#[cfg(test)]
mod tests;

pub use breaker::{Breaker, BreakerConfig, Breaking};
#[cfg(any(test, feature = "testing"))]
pub use faults::{Fault, Faults, Faulty};
pub use layer::{Call, Layer, Layered, Read};
pub use limit::{Limit, LimitConfig, Limits};
pub use metrics::{Metrics, Observation, Observed, Observer, Outcome};
pub use retry::{Jitter, Retry, RetryConfig, Retrying};
pub use verify::{Verify, Verifying};

use crate::Backend;

/// Endpoints of a backend, for the log.
fn name(backend: &dyn Backend) -> String {
    let names: Vec<String> = backend.health().endpoints.into_iter().map(|endpoint| endpoint.name).collect();
    names.join(", ")
}
