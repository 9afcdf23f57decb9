//! Every metric of the registry, in one place. Those of calls to portals have their names in `backend`.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use serving::metrics::{Exposition, RequestDurations, exposition, request_durations};

use super::backend::BackendMetrics;
use super::labels::{GarbageLabel, RefusalLabel};

/// All metrics. Clones of one metric share its value. To share all, use an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    resident_memory: Gauge,
    /// Seconds from a request's head to its answer's head; observed by `http`, and by `server` for refused heads.
    pub http_request_duration: RequestDurations,
    /// Bytes of request bodies; counted by `http` per frame.
    pub http_received_bytes: Counter,
    /// Bytes of response bodies; counted by `http` per frame.
    pub http_sent_bytes: Counter,
    /// Open connections; set by `server`.
    pub connections_open: Gauge,
    /// Connections that the server ended itself.
    pub connections_refused: Family<RefusalLabel, Counter>,
    /// Unix time at which the TLS certificate expires; set by `tls`. 0: there is none.
    pub certificate_not_after: Gauge,
    /// Open upload sessions; set by `service` uploads.
    pub uploads_open: Gauge,
    /// Uploads that became a blob; counted by `service` closing. A mount is not counted.
    pub blobs_pushed: Counter,
    /// Manifests accepted; counted by `service` manifests.
    pub manifests_pushed: Counter,
    /// Bytes of pushed blobs and manifests; counted by `service`.
    pub stored_bytes: Counter,
    /// Files of the content store; set by `content` usage.
    pub content_files: Gauge,
    /// Bytes of these files.
    pub content_bytes: Gauge,
    /// Bytes that can still be written; asked of the system at each scrape.
    pub disk_free_bytes: Gauge,
    /// 1 if pushes are accepted; taken from the catalog and the store at each scrape.
    pub accepts_pushes: Gauge,
    /// Batches synced to the journal; taken from the catalog at each scrape.
    pub journal_commits: Counter,
    /// Rebuilds of the index while the node runs; taken from the catalog at each scrape.
    pub index_rebuilds: Counter,
    /// Finished collections; counted by `gc`.
    pub gc_runs: Counter,
    /// Objects collected; counted by `gc`.
    pub gc_collected: Family<GarbageLabel, Counter>,
    /// Bytes collected; counted by `gc`.
    pub gc_collected_bytes: Counter,
    /// Bytes read and checked; counted by `gc` scrub.
    pub scrub_bytes: Counter,
    /// Files that are damaged or could not be read; counted by `gc` scrub.
    pub scrub_errors: Counter,
    /// Reads of content that was missing or damaged; counted by `content` and `gateway`.
    pub content_damaged: Counter,
    /// Bytes that a backend acknowledged; counted by `placement`.
    pub placed_bytes: Counter,
    /// Bytes read back from a backend to check them; counted by `placement`.
    pub read_back_bytes: Counter,
    /// Content that a backend acknowledged and then did not return; counted by `placement`.
    pub read_back_failures: Counter,
    /// Copies that portals acknowledged and do not have any more; counted by `placement` audits.
    pub copies_lost: Counter,
    /// Failed attempts to place or read back content; counted by `placement`.
    pub placement_failures: Counter,
    /// Bytes read from a backend because they are not on this node; counted by `fetch`.
    pub cold_bytes: Counter,
    /// Calls to each endpoint of the backend.
    pub backend: BackendMetrics,
    /// Interruptions of cold reads by the backend; counted by `fetch`.
    pub cold_failures: Counter,
    /// Bytes of local files evicted because a backend has them; counted by `placement`.
    pub evicted_bytes: Counter,
    /// Content removed at a backend; counted by `placement`.
    pub unpinned: Counter,
    /// Failed removals at a backend; counted by `placement`.
    pub unpin_failures: Counter,
    /// Content that is only on this node; taken from the catalog at each scrape.
    pub backlog: Gauge,
    /// Bytes of that content.
    pub backlog_bytes: Gauge,
    /// Content with copies at endpoints that are no longer configured; taken from the catalog at each scrape.
    pub elsewhere: Gauge,
    /// Removals that wait until such endpoints are configured again.
    pub elsewhere_unpins: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let mut metrics = Metrics {
            registry: Registry::default(),
            resident_memory: Gauge::default(),
            http_request_duration: request_durations(),
            http_received_bytes: Counter::default(),
            http_sent_bytes: Counter::default(),
            connections_open: Gauge::default(),
            connections_refused: Family::default(),
            certificate_not_after: Gauge::default(),
            uploads_open: Gauge::default(),
            blobs_pushed: Counter::default(),
            manifests_pushed: Counter::default(),
            stored_bytes: Counter::default(),
            content_files: Gauge::default(),
            content_bytes: Gauge::default(),
            disk_free_bytes: Gauge::default(),
            accepts_pushes: Gauge::default(),
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
            copies_lost: Counter::default(),
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

    /// All metrics, in the format that the client's `Accept` header asks for.
    pub fn page(&self, accept: Option<&str>) -> Exposition {
        if let Some(bytes) = resident_bytes() {
            self.resident_memory.set(bytes);
        }
        exposition(&self.registry, accept)
    }

    fn register_process(&self, to: &mut Registry) {
        let started = Gauge::<i64>::default();
        started.set(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64));
        to.register_with_unit("process_start_time", "Unix time at which this process started", Unit::Seconds, started);
        add_bytes(to, "process_resident_memory", "Bytes of RAM that this process uses", &self.resident_memory);
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        to.register("skyberth_build", "Version of this program", build);
    }

    fn register_http(&self, to: &mut Registry) {
        let help = "Time from the head of a request to the head of its answer";
        to.register_with_unit("http_request_duration", help, Unit::Seconds, self.http_request_duration.clone());
        add_bytes(to, "http_received", "Bytes received in request bodies", &self.http_received_bytes);
        add_bytes(to, "http_sent", "Bytes sent in response bodies", &self.http_sent_bytes);
        add(to, "connections_open", "Open client connections", &self.connections_open);
        let help = "Connections that the server ended by itself, by reason";
        add(to, "connections_refused", help, &self.connections_refused);
        let help = "Unix time at which the TLS certificate expires; 0 without one";
        to.register_with_unit("certificate_expiry_time", help, Unit::Seconds, self.certificate_not_after.clone());
    }

    fn register_content(&self, to: &mut Registry) {
        add(to, "uploads_open", "Open upload sessions", &self.uploads_open);
        add(to, "blobs_pushed", "Finished uploads of blobs, also of blobs that were there before", &self.blobs_pushed);
        add(to, "manifests_pushed", "Manifests pushed", &self.manifests_pushed);
        add_bytes(to, "stored", "Bytes of pushed blobs and manifests", &self.stored_bytes);
        let help = "Blobs and manifests in local files at the last count, minutes ago at most";
        add(to, "content_files", help, &self.content_files);
        let help = "Bytes of blobs and manifests in local files at the last count, minutes ago at most";
        add_bytes(to, "content", help, &self.content_bytes);
        let help = "Bytes that can still be written to the disk of the data directory";
        add_bytes(to, "disk_free", help, &self.disk_free_bytes);
        let help = "1 if pushes are accepted, 0 while the node is read-only, or its disk fails or is full";
        add(to, "accepts_pushes", help, &self.accepts_pushes);
    }

    fn register_upkeep(&self, to: &mut Registry) {
        add(to, "journal_commits", "Batches of changes synced to the journal", &self.journal_commits);
        add(to, "index_rebuilds", "Rebuilds of the index while the node ran", &self.index_rebuilds);
        add(to, "gc_runs", "Finished garbage collections, without dry runs", &self.gc_runs);
        let help = "Unreferenced blobs and idle uploads removed by garbage collection";
        add(to, "gc_collected", help, &self.gc_collected);
        add_bytes(to, "gc_collected", "Bytes removed by garbage collection", &self.gc_collected_bytes);
        add_bytes(to, "scrub", "Bytes of stored content checked in the background", &self.scrub_bytes);
        add(to, "scrub_errors", "Files that the background check found damaged or could not read", &self.scrub_errors);
        let help = "Times that content was missing or damaged when it was read";
        add(to, "content_damaged", help, &self.content_damaged);
        let help = "Log lines dropped because nobody read standard error";
        add(to, "log_lines_dropped", help, &*super::logs::DROPPED);
    }
}

impl Metrics {
    fn register_placement(&self, to: &mut Registry) {
        add_bytes(to, "placed", "Bytes that portals acknowledged", &self.placed_bytes);
        add_bytes(to, "read_back", "Bytes read back from portals to check them", &self.read_back_bytes);
        let help = "Checks of uploaded content that portals failed";
        add(to, "read_back_failures", help, &self.read_back_failures);
        let help = "Copies that portals acknowledged and do not have any more";
        add(to, "copies_lost", help, &self.copies_lost);
        let help = "Failed attempts to upload content to portals, or to read it back";
        add(to, "placement_failures", help, &self.placement_failures);
        add_bytes(to, "cold", "Bytes read from portals for clients", &self.cold_bytes);
        self.backend.register(to);
        add(to, "cold_failures", "Interrupted reads from portals for clients", &self.cold_failures);
        let help = "Bytes of evicted local files, whose content is on portals";
        add_bytes(to, "evicted", help, &self.evicted_bytes);
        add(to, "unpinned", "Removals of blobs and manifests that portals carried out", &self.unpinned);
        add(to, "unpin_failures", "Removals of blobs and manifests that failed at portals", &self.unpin_failures);
        add(to, "backlog", "Blobs and manifests with too few copies on portals", &self.backlog);
        let help = "Bytes of blobs and manifests with too few copies on portals";
        add_bytes(to, "backlog", help, &self.backlog_bytes);
        let help = "Blobs and manifests that also have copies at portals that are not configured";
        add(to, "elsewhere", help, &self.elsewhere);
        let help = "Removals that wait for portals that are not configured";
        add(to, "elsewhere_unpins", help, &self.elsewhere_unpins);
    }
}

fn add(to: &mut Registry, name: &str, help: &str, metric: &(impl Metric + Clone)) {
    to.register(name, help, metric.clone());
}

fn add_bytes(to: &mut Registry, name: &str, help: &str, metric: &(impl Metric + Clone)) {
    to.register_with_unit(name, help, Unit::Bytes, metric.clone());
}

/// `VmRSS` of this process (proc(5)); `None` on systems without `/proc`.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serving::metrics::RequestLabels;

    use super::super::labels::{Garbage, Refusal};
    use super::*;

    /// Parses `OpenMetrics` text as strictly as a scraper: refuses a sample without TYPE, a second TYPE, a second
    /// sample of a series, a value that is not a number, and a missing end.
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
        let labels = RequestLabels { operation: "blob", method: (&http::Method::GET).into(), status: 206 };
        metrics.http_request_duration.get_or_create(&labels).observe(0.003);
        metrics.http_sent_bytes.inc_by(4096);
        metrics.connections_open.inc();
        metrics.connections_refused.get_or_create(&RefusalLabel { reason: Refusal::tls }).inc();
        metrics.gc_collected.get_or_create(&GarbageLabel { kind: Garbage::blob }).inc_by(2);
        metrics.gc_collected_bytes.inc_by(10);
        let samples = parse(&metrics.page(Some("application/openmetrics-text")).text);
        for (series, value) in [
            ("skyberth_http_request_duration_seconds_count{operation=\"blob\",method=\"GET\",status=\"206\"}", 1.0),
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
