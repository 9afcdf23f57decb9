//! Every metric of a portal.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use serving::metrics::{Exposition, RequestDurations, exposition, request_durations};

/// The metrics of one portal.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Seconds from a request's head to the answer's head.
    pub request_duration: RequestDurations,
    /// Bytes of request bodies.
    pub received_bytes: Counter,
    /// Bytes that can still be written, read from the system at each scrape. `None` for a gateway, which writes
    /// nothing.
    pub(crate) disk_free_bytes: Option<Gauge>,
}

impl Metrics {
    /// All metrics at zero.
    pub(crate) fn new(writes: bool) -> Self {
        let mut registry = Registry::with_prefix("skyberth_portal");
        let request_duration = request_durations();
        let received_bytes = Counter::default();
        let help = "Time from the head of a request to the head of its answer";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, request_duration.clone());
        let help = "Bytes received in request bodies";
        registry.register_with_unit("http_received", help, Unit::Bytes, received_bytes.clone());
        let disk_free_bytes = writes.then(Gauge::default);
        if let Some(free) = &disk_free_bytes {
            let help = "Bytes that can still be written to the disk of the portal's directory";
            registry.register_with_unit("disk_free", help, Unit::Bytes, free.clone());
        }
        Metrics { registry, request_duration, received_bytes, disk_free_bytes }
    }

    /// All metrics, in the format that the client's `Accept` header asks for.
    pub(crate) fn page(&self, accept: Option<&str>) -> Exposition {
        exposition(&self.registry, accept)
    }
}
