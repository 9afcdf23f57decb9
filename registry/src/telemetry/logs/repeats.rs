//! Writes repeated failures once, then counts them. A later line has the count.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::own_line;
use super::sink::Sink;

/// Time for which repeats of a failure are counted instead of written.
const INTERVAL: Duration = Duration::from_secs(30);
/// Interval at which due counts are written while no other line is.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Number of different failures that are counted at once. Any beyond these are written each time.
const MAX_FAILURES: usize = 256;
/// Fields that identify a warning which has an `error` field. Its other fields are ignored, since one outage concerns
/// all content.
const TROUBLE: [&str; 6] = ["message", "error", "reason", "backend", "portal", "peer"];
/// Fields of the failed request. They never make a failure a different one.
const OF_REQUEST: [&str; 4] = ["request.id", "client", "method", "path"];

/// A format that suppresses warnings and errors written within the last [`INTERVAL`].
#[derive(Debug)]
pub(super) struct Counted<F> {
    inner: F,
    repeats: Repeats,
}

impl<F> Counted<F> {
    pub(super) fn new(inner: F, repeats: Repeats) -> Self {
        Counted { inner, repeats }
    }
}

/// Recent failures, each with its number of repeats. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Repeats {
    recent: Arc<Mutex<HashMap<u64, Failure>>>,
    json: bool,
}

#[derive(Debug)]
struct Failure {
    written: Instant,
    since: u64,
    message: String,
}

/// A message, and how often it was suppressed.
type Count = (String, u64);

impl Repeats {
    pub(super) fn new(json: bool) -> Self {
        Repeats { recent: Arc::default(), json }
    }

    /// True if this failure is to be written. Otherwise it is counted.
    fn is_news(&self, key: u64, message: String, now: Instant) -> bool {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = recent.get_mut(&key) {
            known.since += 1;
            return false;
        }
        if recent.len() < MAX_FAILURES {
            recent.insert(key, Failure { written: now, since: 0, message });
        }
        true
    }

    /// Removes the failures written at least this long ago, and returns their counts.
    fn due(&self, now: Instant, after: Duration) -> Vec<Count> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let old = recent.extract_if(|_, failure| now.saturating_duration_since(failure.written) >= after);
        old.filter(|(_, failure)| failure.since > 0).map(|(_, failure)| (failure.message, failure.since)).collect()
    }

    fn line(&self, (message, count): Count) -> Result<String, fmt::Error> {
        own_line(self.json, &format!("{count} more times: {message}"), ("repeated", count))
    }

    /// Writes the due counts on lines of their own.
    fn write(&self, now: Instant, after: Duration, output: &mut impl io::Write) {
        for line in self.due(now, after).into_iter().filter_map(|count| self.line(count).ok()) {
            // A failure to log cannot be logged.
            let _ = output.write_all(line.as_bytes());
        }
    }
}

/// Writes counts while no other line is written. See [`Counts::end`].
#[derive(Debug)]
pub struct Counts {
    repeats: Repeats,
    sink: Sink,
    _running: mpsc::Sender<()>,
}

impl Counts {
    /// Starts a thread that writes counts soon after they are due. It ends when this is dropped.
    pub(super) fn start(repeats: Repeats, sink: Sink) -> io::Result<Self> {
        let (running, ended) = mpsc::channel();
        let (looking, mut output) = (repeats.clone(), sink.clone());
        thread::Builder::new().name("log-counts".into()).spawn(move || {
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                looking.write(Instant::now(), INTERVAL, &mut output);
            }
        })?;
        Ok(Counts { repeats, sink, _running: running })
    }

    /// Writes all counts, since no later line will.
    pub fn end(mut self) {
        self.repeats.write(Instant::now(), Duration::ZERO, &mut self.sink);
    }
}

impl<S, N, F> FormatEvent<S, N> for Counted<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = Instant::now();
        for count in self.repeats.due(now, INTERVAL) {
            writer.write_str(&self.repeats.line(count)?)?;
        }
        if *event.metadata().level() <= Level::WARN {
            let (key, message) = key(event);
            if !self.repeats.is_news(key, message, now) {
                return Ok(());
            }
        }
        self.inner.format_event(ctx, writer, event)
    }
}

/// A key that identifies a failure, and its message. An error is identified by all its fields, since one damaged file
/// must not hide another.
fn key(event: &Event<'_>) -> (u64, String) {
    let mut fields = Fields(Vec::new());
    event.record(&mut fields);
    let metadata = event.metadata();
    let names_trouble = *metadata.level() == Level::WARN && fields.0.iter().any(|(name, _)| *name == "error");
    let tells = |name: &str| if names_trouble { TROUBLE.contains(&name) } else { !OF_REQUEST.contains(&name) };
    let mut hasher = DefaultHasher::new();
    metadata.callsite().hash(&mut hasher);
    fields.0.iter().filter(|(name, _)| tells(name)).for_each(|field| field.hash(&mut hasher));
    let message = fields.0.into_iter().find(|(name, _)| *name == "message").map(|(_, text)| text);
    (hasher.finish(), message.unwrap_or_default())
}

struct Fields(Vec<(&'static str, String)>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::*;

    #[test]
    fn the_same_failure_is_written_once_and_counted_after_that() {
        let (repeats, start) = (Repeats::new(false), Instant::now());
        let is_news = |key: u64, after| repeats.is_news(key, format!("failure {key}"), start + after);
        let second = Duration::from_secs(1);
        assert!(is_news(1, second));
        assert!(!is_news(1, 2 * second));
        assert!(is_news(2, 2 * second), "another failure is not the same");
        assert!(!is_news(1, 3 * second));
        assert_eq!(repeats.due(start + second, INTERVAL), vec![]);
        assert_eq!(repeats.due(start + second + INTERVAL, INTERVAL), vec![("failure 1".to_owned(), 2)]);
        assert!(is_news(1, second + INTERVAL));
    }

    /// The counts of an outage that ended, or of a node that stopped, were missing: only a later line wrote them.
    #[test]
    fn counts_come_without_another_line_after_a_quiet_time_and_at_a_stop() {
        for json in [false, true] {
            let (repeats, start) = (Repeats::new(json), Instant::now());
            let written = |after, older_than| {
                let mut output = Vec::new();
                repeats.write(start + after, older_than, &mut output);
                String::from_utf8(output).unwrap()
            };
            for _ in 0..3 {
                repeats.is_news(1, "quiet".to_owned(), start);
            }
            assert_eq!(written(Duration::ZERO, INTERVAL), "", "not due yet");
            assert!(written(INTERVAL, INTERVAL).contains("2 more times: quiet"));
            assert_eq!(written(INTERVAL, INTERVAL), "", "it is written once");
            for _ in 0..2 {
                repeats.is_news(1, "stopped".to_owned(), start + INTERVAL);
            }
            assert!(written(INTERVAL, Duration::ZERO).contains("1 more times: stopped"));
        }
    }

    #[test]
    fn an_outage_is_one_failure_and_each_damaged_content_is_its_own() {
        let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
        let layer = tracing_subscriber::registry().with(Keys(std::sync::Arc::clone(&seen)));
        tracing::subscriber::with_default(layer, || {
            for digest in ["a", "b"] {
                tracing::warn!(digest, error = "portal x does not answer", "content was not placed");
                tracing::error!(digest, "content is damaged");
                tracing::error!(request.id = digest, path = digest, error = "disk failed", "request failed");
            }
        });
        let keys = seen.lock().unwrap();
        assert_eq!((keys[0] == keys[3], keys[1] == keys[4], keys[2] == keys[5]), (true, false, true));
    }

    struct Keys(std::sync::Arc<Mutex<Vec<u64>>>);

    impl<S: Subscriber> Layer<S> for Keys {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(key(event).0);
        }
    }

    #[test]
    fn the_table_of_failures_is_bounded() {
        let (repeats, now) = (Repeats::new(false), Instant::now());
        for key in 0..2 * MAX_FAILURES as u64 {
            assert!(repeats.is_news(key, String::new(), now));
        }
        assert_eq!(repeats.recent.lock().unwrap().len(), MAX_FAILURES);
    }
}
