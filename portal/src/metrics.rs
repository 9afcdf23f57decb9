//! Every metric of a portal.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The type of the answer of `/metrics`.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A request by what it asked for and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The endpoint.
    pub operation: &'static str,
    /// The status of the answer.
    pub status: u16,
}

/// Counters of one portal.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests answered.
    pub requests: Family<RequestLabels, Counter>,
    /// Bytes of request bodies.
    pub received_bytes: Counter,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("skyberth_portal");
        let requests = Family::default();
        let received_bytes = Counter::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register("http_received_bytes", "Bytes of request bodies", received_bytes.clone());
        Metrics { registry, requests, received_bytes }
    }

    /// As text for a scraper.
    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}
