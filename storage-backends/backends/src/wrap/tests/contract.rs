//! The contract, stamped for each wrapper and for all of them together.

use std::sync::Arc;

use crate::testing::{Expected, Fixture, Instance};
use crate::wrap::{Faults, Jitter, Limit, LimitConfig, Metrics, Observation, Observer, Retry, RetryConfig, Verify};
use crate::{Backend, MAX_READ, MemoryBackend};

const LIMIT: u64 = 24 * 1024 * 1024;

#[derive(Debug)]
struct Nobody;

impl Observer for Nobody {
    fn ended(&self, _: Observation) {}
}

fn verify(inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
    Arc::new(Verify::new(inner))
}

fn retry(inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
    Arc::new(Retry::new(inner, RetryConfig::default(), Jitter::new(|| 0)))
}

fn limit(inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
    let fast = Some(1 << 40);
    Arc::new(Limit::new(inner, LimitConfig { put_rate: fast, get_rate: fast, ..LimitConfig::default() }))
}

fn metrics(inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
    Arc::new(Metrics::new(inner, Arc::new(Nobody)))
}

fn faults(inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
    Arc::new(Faults::new(inner))
}

macro_rules! wrapped {
    ($($name:ident: $wrap:expr,)*) => {
        $(mod $name {
            use super::*;

            struct Wrapped(MemoryBackend);

            impl Fixture for Wrapped {
                async fn start() -> Self {
                    Wrapped(MemoryBackend::new().with_max_object_size(LIMIT))
                }

                fn instance(&self) -> Instance<'_> {
                    Box::pin(async move {
                        let wrap: fn(Arc<dyn Backend>) -> Arc<dyn Backend> = $wrap;
                        wrap(Arc::new(self.0.clone()))
                    })
                }

                fn expected(&self) -> Expected {
                    Expected {
                        resume_step: Some(MAX_READ),
                        max_object_size: Some(LIMIT),
                        has_identity: true,
                        lists: true,
                        ..Expected::default()
                    }
                }
            }

            crate::backend_contract!(Wrapped);
        })*
    };
}

wrapped! {
    verifying: verify,
    retrying: retry,
    limiting: limit,
    measuring: metrics,
    harmless_faults: faults,
    all_together: |inner| verify(metrics(retry(limit(faults(inner))))),
}
