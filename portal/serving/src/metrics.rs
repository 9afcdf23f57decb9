//! Metrics of requests, and `/metrics` in the two text formats that scrapers ask for.

use std::fmt::Write as _;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds in seconds: 0.5 ms to 100 ms for small answers, 30 s where containerd gives up on headers, 60 s where
/// ingresses cut, then the minutes of large uploads.
const DURATION_BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 1800.0];

/// A request by its operation and its answer. All values are fixed words and codes, so that no client can create new
/// series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The operation, such as `blob`.
    pub operation: &'static str,
    /// The request's method.
    pub method: MethodLabel,
    /// The status of the answer.
    pub status: u16,
}

/// Request methods with a label of their own; every other one is `other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MethodLabel(&'static str);

impl MethodLabel {
    /// The label of all other methods, and of one that is not known.
    pub const OTHER: MethodLabel = MethodLabel("other");
}

impl From<&http::Method> for MethodLabel {
    fn from(method: &http::Method) -> Self {
        let known = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"];
        known.into_iter().find(|known| *known == method.as_str()).map_or(MethodLabel::OTHER, MethodLabel)
    }
}

impl EncodeLabelValue for MethodLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

/// Seconds from the head of each request to the head of its answer.
pub type RequestDurations = Family<RequestLabels, Histogram, DurationBuckets>;

/// An empty histogram.
pub fn request_durations() -> RequestDurations {
    Family::new_with_constructor(DurationBuckets)
}

/// Makes the histogram for new labels.
#[derive(Clone, Debug)]
pub struct DurationBuckets;

impl MetricConstructor<Histogram> for DurationBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(DURATION_BUCKETS)
    }
}

/// A page of metrics with its media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposition {
    /// The value of `Content-Type`.
    pub media_type: &'static str,
    /// The body.
    pub text: String,
}

/// All metrics of `registry`. They are in `OpenMetrics` if the `Accept` header names that and prefers nothing else.
/// Otherwise they are in the text format of Prometheus, which every scraper reads.
pub fn exposition(registry: &Registry, accept: Option<&str>) -> Exposition {
    let mut open = String::new();
    prometheus_client::encoding::text::encode(&mut open, registry).expect("writing to a String cannot fail");
    if prefers_open_metrics(accept.unwrap_or_default()) {
        return Exposition { media_type: "application/openmetrics-text; version=1.0.0; charset=utf-8", text: open };
    }
    Exposition { media_type: "text/plain; version=0.0.4; charset=utf-8", text: to_text_format(&open) }
}

/// The rules of RFC 9110 12.5.1, as far as two types need them.
fn prefers_open_metrics(accept: &str) -> bool {
    let (mut open, mut text) = (0.0_f32, 0.0_f32);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |weight| weight.parse().ok());
        let weight = weight.unwrap_or(0.0);
        match name.as_str() {
            "application/openmetrics-text" => open = open.max(weight),
            "text/plain" | "text/*" | "*/*" => text = text.max(weight),
            _ => {}
        }
    }
    open > 0.0 && open >= text
}

/// Converts `OpenMetrics` into the older format, with the same samples and other comments. There a family has the name
/// of its samples, information is a gauge of 1, and units and the end are not marked.
fn to_text_format(open: &str) -> String {
    let (mut text, mut help) = (String::with_capacity(open.len()), None);
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((_, help)) = help.take() {
                let _ = writeln!(text, "# HELP {name}{suffix} {help}");
            }
            let _ = writeln!(text, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::Unit;

    use super::*;

    fn registry() -> Registry {
        let mut registry = Registry::default();
        let (sent, durations) = (Counter::<u64>::default(), request_durations());
        sent.inc_by(7);
        let labels = RequestLabels { operation: "blob", method: (&http::Method::GET).into(), status: 206 };
        durations.get_or_create(&labels).observe(0.003);
        registry.register_with_unit("sent", "Bytes sent", Unit::Bytes, sent);
        registry.register_with_unit("request_duration", "Time of requests", Unit::Seconds, durations);
        registry.register("build", "What runs", Info::new(vec![("version", "1")]));
        registry
    }

    #[test]
    fn a_client_that_asks_for_text_gets_text() {
        let page = exposition(&registry(), Some("text/plain"));
        assert_eq!(page.media_type, "text/plain; version=0.0.4; charset=utf-8");
        let labels = "operation=\"blob\",method=\"GET\",status=\"206\"";
        for line in [
            "# HELP sent_bytes_total Bytes sent.",
            "# TYPE sent_bytes_total counter",
            "sent_bytes_total 7",
            "# TYPE request_duration_seconds histogram",
            &format!("request_duration_seconds_bucket{{le=\"0.005\",{labels}}} 1"),
            &format!("request_duration_seconds_bucket{{le=\"0.0025\",{labels}}} 0"),
            &format!("request_duration_seconds_count{{{labels}}} 1"),
            "# TYPE build_info gauge",
            "build_info{version=\"1\"} 1",
        ] {
            assert!(page.text.lines().any(|found| found == line), "{line} is not in\n{}", page.text);
        }
        assert!(!page.text.contains("# EOF") && !page.text.contains("# UNIT"), "{}", page.text);
    }

    #[test]
    fn the_format_is_the_one_that_the_client_prefers() {
        let scraper = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
        for (accept, open) in [
            (None, false),
            (Some("*/*"), false),
            (Some("text/html,*/*;q=0.8"), false),
            (Some("application/openmetrics-text"), true),
            (Some(scraper), true),
            (Some("application/openmetrics-text;q=0.3, text/plain;q=0.9"), false),
            (Some("application/openmetrics-text;q=0"), false),
            (Some("application/openmetrics-text;q=x"), false),
        ] {
            let page = exposition(&registry(), accept);
            assert_eq!(page.media_type.starts_with("application/openmetrics-text"), open, "{accept:?}");
            assert_eq!(page.text.ends_with("# EOF\n"), open, "{accept:?}");
        }
    }

    #[test]
    fn clients_cannot_make_new_series() {
        let method = http::Method::from_bytes(b"X-ANYTHING").unwrap();
        assert_eq!(MethodLabel::from(&method), MethodLabel("other"));
    }
}
