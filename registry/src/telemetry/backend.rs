//! Metrics of the calls to each endpoint of the backend.

use backends::wrap::{Observation, Observer, Outcome};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

/// Labels of a successful call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    endpoint: String,
    call: &'static str,
}

/// Labels of a failed call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    endpoint: String,
    call: &'static str,
    kind: &'static str,
}

/// Counters of all endpoints. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct BackendMetrics {
    calls: Family<CallLabels, Counter>,
    failures: Family<FailureLabels, Counter>,
    bytes: Family<CallLabels, Counter>,
}

impl BackendMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        to.register("backend_calls", "Successful calls to a portal, by endpoint and call", self.calls.clone());
        let help = "Failed calls to a portal, by endpoint, call and kind of failure";
        to.register("backend_failures", help, self.failures.clone());
        let help = "Bytes sent to and read from a portal, by endpoint and call";
        to.register_with_unit("backend", help, Unit::Bytes, self.bytes.clone());
    }

    /// An observer that counts for the endpoint of this name.
    pub fn of(&self, endpoint: &str) -> EndpointMetrics {
        EndpointMetrics { endpoint: endpoint.to_owned(), metrics: self.clone() }
    }
}

/// Counts the calls to one endpoint.
#[derive(Clone, Debug)]
pub struct EndpointMetrics {
    endpoint: String,
    metrics: BackendMetrics,
}

impl Observer for EndpointMetrics {
    fn ended(&self, observation: Observation) {
        let (endpoint, call) = (self.endpoint.clone(), observation.call.name());
        let labels = CallLabels { endpoint: endpoint.clone(), call };
        self.metrics.bytes.get_or_create(&labels).inc_by(observation.bytes);
        match observation.outcome {
            Outcome::Done => self.metrics.calls.get_or_create(&labels).inc(),
            Outcome::Failed(kind) => self.metrics.failures.get_or_create(&FailureLabels { endpoint, call, kind }).inc(),
            // The caller has left.
            Outcome::Dropped => 0,
        };
    }
}
