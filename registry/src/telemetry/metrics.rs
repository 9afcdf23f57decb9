//! Every metric of the registry, in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::backend::BackendMetrics;
use super::labels::{GarbageLabel, OperationLabel, RefusalLabel, RequestLabels};

/// Media type of what [`Metrics::encode`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds: 0.5 ms to 100 ms for manifests and HEADs, 30 s where containerd gives up on headers, 60 s
/// where ingresses cut, then the minutes of large blobs.
const DURATION_BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 1800.0];

/// Makes the histogram of a new operation.
#[derive(Clone, Debug)]
pub struct DurationHistogram;

impl MetricConstructor<Histogram> for DurationHistogram {
    fn new_metric(&self) -> Histogram {
        Histogram::new(DURATION_BUCKETS)
    }
}

/// All metrics. Clones of a single metric share its value; share the whole in an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    resident_memory: Gauge,
    /// Finished requests; counted by `http` when the answer's head is made.
    pub http_requests: Family<RequestLabels, Counter>,
    /// Seconds from a request's head to the answer's; observed by `http`.
    pub http_request_duration: Family<OperationLabel, Histogram, DurationHistogram>,
    /// Bytes of request bodies; counted by `http` per frame.
    pub http_received_bytes: Counter,
    /// Bytes of response bodies; counted by `http` per frame.
    pub http_sent_bytes: Counter,
    /// Open connections; kept by `server`.
    pub connections_open: Gauge,
    /// Connections that `server` ended by itself.
    pub connections_refused: Family<RefusalLabel, Counter>,
    /// Open upload sessions; set by `service` uploads.
    pub uploads_open: Gauge,
    /// Blobs linked by an upload or a mount; counted by `service` blobs.
    pub blobs_pushed: Counter,
    /// Manifests accepted; counted by `service` manifests.
    pub manifests_pushed: Counter,
    /// Bytes of blobs and manifests that entered the content store; counted by `service`.
    pub stored_bytes: Counter,
    /// Bytes of blobs and manifests that the content store had already; counted by `service`.
    pub reused_bytes: Counter,
    /// Synced batches; taken from the catalog when metrics are asked for.
    pub journal_commits: Counter,
    /// Rebuilds of the index while running; taken from the catalog when metrics are asked for.
    pub index_rebuilds: Counter,
    /// Finished collections; counted by `gc`.
    pub gc_runs: Counter,
    /// Objects collected; counted by `gc`.
    pub gc_collected: Family<GarbageLabel, Counter>,
    /// Bytes collected; counted by `gc`.
    pub gc_collected_bytes: Counter,
    /// Bytes read back and checked; counted by `gc` scrub.
    pub scrub_bytes: Counter,
    /// Files whose bytes are not what their digest says; counted by `gc` scrub.
    pub scrub_errors: Counter,
    /// Content that was asked for and found missing or damaged; counted by `service` blobs.
    pub content_damaged: Counter,
    /// Bytes that a backend acknowledged; counted by `placement`.
    pub placed_bytes: Counter,
    /// Bytes read back from a backend to see whether they are there; counted by `placement`.
    pub read_back_bytes: Counter,
    /// Content that a backend acknowledged and did not give back; counted by `placement`.
    pub read_back_failures: Counter,
    /// Attempts to place or read back content that did not end well; counted by `placement`.
    pub placement_failures: Counter,
    /// Bytes read from a backend because they are not here; counted by `placement`.
    pub cold_bytes: Counter,
    /// What each endpoint of the backend does.
    pub backend: BackendMetrics,
    /// Cold reads that the backend interrupted; counted by `placement`.
    pub cold_failures: Counter,
    /// Bytes of local files that went because a backend has them; counted by `placement`.
    pub evicted_bytes: Counter,
    /// Content removed at a backend; counted by `placement`.
    pub unpinned: Counter,
    /// Requests to remove content that a backend did not carry out; counted by `placement`.
    pub unpin_failures: Counter,
    /// Content that is only here; taken from the catalog when metrics are asked for.
    pub backlog: Gauge,
    /// Its bytes.
    pub backlog_bytes: Gauge,
    /// Content that places have which are not configured any more; taken like the backlog.
    pub elsewhere: Gauge,
    /// Removals that wait until such places are configured again.
    pub elsewhere_unpins: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut metrics = Metrics {
            registry: Registry::default(),
            resident_memory: Gauge::default(),
            http_requests: Family::default(),
            http_request_duration: Family::new_with_constructor(DurationHistogram),
            http_received_bytes: Counter::default(),
            http_sent_bytes: Counter::default(),
            connections_open: Gauge::default(),
            connections_refused: Family::default(),
            uploads_open: Gauge::default(),
            blobs_pushed: Counter::default(),
            manifests_pushed: Counter::default(),
            stored_bytes: Counter::default(),
            reused_bytes: Counter::default(),
            journal_commits: Counter::default(),
            index_rebuilds: Counter::default(),
            gc_runs: Counter::default(),
            gc_collected: Family::default(),
            gc_collected_bytes: Counter::default(),
            scrub_bytes: Counter::default(),
            scrub_errors: Counter::default(),
            content_damaged: Counter::default(),
            placed_bytes: Counter::default(),
            read_back_bytes: Counter::default(),
            read_back_failures: Counter::default(),
            placement_failures: Counter::default(),
            cold_bytes: Counter::default(),
            backend: BackendMetrics::default(),
            cold_failures: Counter::default(),
            evicted_bytes: Counter::default(),
            unpinned: Counter::default(),
            unpin_failures: Counter::default(),
            backlog: Gauge::default(),
            backlog_bytes: Gauge::default(),
            elsewhere: Gauge::default(),
            elsewhere_unpins: Gauge::default(),
        };
        let mut registry = Registry::default();
        metrics.register_process(&mut registry);
        let own = registry.sub_registry_with_prefix("skyberth");
        metrics.register_http(own);
        metrics.register_content(own);
        metrics.register_upkeep(own);
        metrics.register_placement(own);
        metrics.registry = registry;
        metrics
    }

    /// The whole in the `OpenMetrics` text format, of type [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        if let Some(bytes) = resident_bytes() {
            self.resident_memory.set(bytes);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String cannot fail");
        text
    }

    fn register_process(&self, to: &mut Registry) {
        let started = Gauge::<i64>::default();
        started.set(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64));
        to.register_with_unit("process_start_time", "When this process began", Unit::Seconds, started);
        let help = "Memory of this process that is in RAM";
        to.register_with_unit("process_resident_memory", help, Unit::Bytes, self.resident_memory.clone());
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        to.register("skyberth_build", "What is running", build);
    }

    fn register_http(&self, to: &mut Registry) {
        add(to, "http_requests", "Finished requests", &self.http_requests);
        let help = "From the head of a request to the head of its answer";
        to.register_with_unit("http_request_duration", help, Unit::Seconds, self.http_request_duration.clone());
        add_bytes(to, "http_received", "Received in request bodies", &self.http_received_bytes);
        add_bytes(to, "http_sent", "Sent in response bodies", &self.http_sent_bytes);
        add(to, "connections_open", "Open connections", &self.connections_open);
        add(to, "connections_refused", "Connections ended by the server", &self.connections_refused);
    }

    fn register_content(&self, to: &mut Registry) {
        add(to, "uploads_open", "Open upload sessions", &self.uploads_open);
        add(to, "blobs_pushed", "Blobs linked by upload or mount", &self.blobs_pushed);
        add(to, "manifests_pushed", "Manifests accepted", &self.manifests_pushed);
        add_bytes(to, "stored", "Content that was new to the store", &self.stored_bytes);
        add_bytes(to, "reused", "Content that the store had already", &self.reused_bytes);
    }

    fn register_upkeep(&self, to: &mut Registry) {
        add(to, "journal_commits", "Synced batches of the journal", &self.journal_commits);
        add(to, "index_rebuilds", "Rebuilds of the index from the journal", &self.index_rebuilds);
        add(to, "gc_runs", "Finished collections of garbage", &self.gc_runs);
        add(to, "gc_collected", "Objects collected", &self.gc_collected);
        add_bytes(to, "gc_collected", "Collected", &self.gc_collected_bytes);
        add_bytes(to, "scrub", "Read back and checked", &self.scrub_bytes);
        add(to, "scrub_errors", "Files that are not what their digest says", &self.scrub_errors);
        let help = "Content that was asked for and found missing or damaged";
        add(to, "content_damaged", help, &self.content_damaged);
    }
}

impl Metrics {
    fn register_placement(&self, to: &mut Registry) {
        add_bytes(to, "placed", "Acknowledged by the backend", &self.placed_bytes);
        add_bytes(to, "read_back", "Read back from the backend and checked", &self.read_back_bytes);
        let help = "Content that the backend acknowledged and did not give back";
        add(to, "read_back_failures", help, &self.read_back_failures);
        add(to, "placement_failures", "Attempts to place content that did not end well", &self.placement_failures);
        add_bytes(to, "cold", "Read from the backend because it is not here", &self.cold_bytes);
        self.backend.register(to);
        add(to, "cold_failures", "Cold reads that the backend interrupted", &self.cold_failures);
        add_bytes(to, "evicted", "Local files that went because the backend has them", &self.evicted_bytes);
        add(to, "unpinned", "Content removed at the backend", &self.unpinned);
        add(to, "unpin_failures", "Requests that the backend did not carry out", &self.unpin_failures);
        add(to, "backlog", "Content that is only on this node", &self.backlog);
        add_bytes(to, "backlog", "Content that is only on this node", &self.backlog_bytes);
        add(to, "elsewhere", "Content also at places that are not configured", &self.elsewhere);
        add(to, "elsewhere_unpins", "Removals that wait for such places", &self.elsewhere_unpins);
    }
}

fn add(to: &mut Registry, name: &str, help: &str, metric: &(impl Metric + Clone)) {
    to.register(name, help, metric.clone());
}

fn add_bytes(to: &mut Registry, name: &str, help: &str, metric: &(impl Metric + Clone)) {
    to.register_with_unit(name, help, Unit::Bytes, metric.clone());
}

/// `VmRSS` of this process (proc(5)); none where there is no `/proc`.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::labels::{Garbage, Operation, Refusal};
    use super::*;

    /// Reads `OpenMetrics` text strictly enough to notice what a scraper would refuse: a sample without TYPE, a second
    /// TYPE, a second sample of the same series, a value that is no number, a missing end.
    fn parse(text: &str) -> BTreeMap<String, f64> {
        let (mut types, mut samples) = (BTreeSet::new(), BTreeMap::new());
        let body = text.strip_suffix("# EOF\n").expect("the end is marked");
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().unwrap();
                assert!(types.insert(name.to_owned()), "two types for {name}");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let suffixes = ["", "_total", "_bucket", "_sum", "_count", "_info"];
                let is_known = |suffix: &str| name.strip_suffix(suffix).is_some_and(|base| types.contains(base));
                assert!(suffixes.into_iter().any(is_known), "{name} has no type");
                assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} twice");
            }
        }
        samples
    }

    #[test]
    fn the_text_parses_and_holds_what_was_counted() {
        let metrics = Metrics::new();
        let operation = Operation("blob_get");
        let labels = RequestLabels {
            operation,
            method: (&http::Method::GET).into(),
            status: http::StatusCode::PARTIAL_CONTENT.into(),
        };
        metrics.http_requests.get_or_create(&labels).inc();
        metrics.http_request_duration.get_or_create(&OperationLabel { operation }).observe(0.003);
        metrics.http_sent_bytes.inc_by(4096);
        metrics.connections_open.inc();
        metrics.connections_refused.get_or_create(&RefusalLabel { reason: Refusal::tls }).inc();
        metrics.gc_collected.get_or_create(&GarbageLabel { kind: Garbage::blob }).inc_by(2);
        metrics.gc_collected_bytes.inc_by(10);
        let samples = parse(&metrics.encode());
        for (series, value) in [
            ("skyberth_http_requests_total{operation=\"blob_get\",method=\"GET\",status=\"2xx\"}", 1.0),
            ("skyberth_http_request_duration_seconds_bucket{le=\"0.005\",operation=\"blob_get\"}", 1.0),
            ("skyberth_http_request_duration_seconds_bucket{le=\"0.0025\",operation=\"blob_get\"}", 0.0),
            ("skyberth_http_sent_bytes_total", 4096.0),
            ("skyberth_connections_open", 1.0),
            ("skyberth_connections_refused_total{reason=\"tls\"}", 1.0),
            ("skyberth_gc_collected_total{kind=\"blob\"}", 2.0),
            ("skyberth_gc_collected_bytes_total", 10.0),
            ("skyberth_index_rebuilds_total", 0.0),
        ] {
            assert_eq!(samples.get(series), Some(&value), "{series} in {samples:#?}");
        }
        assert!(samples["process_resident_memory_bytes"] > 1e6);
        assert!(samples["process_start_time_seconds"] > 1.7e9);
    }
}
