//! Repeated failures are written once, then counted: a later line says how often they came.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Time for which repeats of a failure are counted instead of written.
const INTERVAL: Duration = Duration::from_secs(30);
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
    json: bool,
    recent: Mutex<HashMap<u64, Failure>>,
}

#[derive(Debug)]
struct Failure {
    written: Instant,
    since: u64,
    message: String,
}

impl<F> Counted<F> {
    pub(super) fn new(inner: F, json: bool) -> Self {
        Counted { inner, json, recent: Mutex::default() }
    }

    /// Whether to write this failure; and the counts that are due, each a message with how often it was suppressed.
    fn look(&self, failure: Option<(u64, String)>, now: Instant) -> (bool, Vec<(String, u64)>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        recent.retain(|_, failure| {
            let old = now.saturating_duration_since(failure.written) >= INTERVAL;
            if old && failure.since > 0 {
                due.push((std::mem::take(&mut failure.message), failure.since));
            }
            !old
        });
        let Some((key, message)) = failure else { return (true, due) };
        if let Some(known) = recent.get_mut(&key) {
            known.since += 1;
            return (false, due);
        }
        if recent.len() < MAX_FAILURES {
            recent.insert(key, Failure { written: now, since: 0, message });
        }
        (true, due)
    }

    fn write_count(&self, mut writer: Writer<'_>, message: &str, count: u64) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let again = format!("{count} more times: {message}");
        if self.json {
            let line = serde_json::json!({
                "timestamp": time, "level": "WARN", "message": again, "repeated": count, "target": module_path!(),
            });
            return writeln!(writer, "{line}");
        }
        writeln!(writer, "{time}  WARN {}: {again} repeated={count}", module_path!())
    }
}

impl<S, N, F> FormatEvent<S, N> for Counted<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let fails = *event.metadata().level() <= Level::WARN;
        let (write, due) = self.look(fails.then(|| key(event)), Instant::now());
        for (message, count) in due {
            self.write_count(writer.by_ref(), &message, count)?;
        }
        if write { self.inner.format_event(ctx, writer, event) } else { Ok(()) }
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
        let (counted, start) = (Counted::new((), false), Instant::now());
        let look = |key: u64, after| counted.look(Some((key, format!("failure {key}"))), start + after);
        let second = Duration::from_secs(1);
        assert_eq!(look(1, second), (true, vec![]));
        assert_eq!(look(1, 2 * second), (false, vec![]));
        assert_eq!(look(2, 2 * second), (true, vec![]), "another failure is not the same");
        assert_eq!(look(1, 3 * second), (false, vec![]));
        let due = counted.look(None, start + second + INTERVAL);
        assert_eq!(due, (true, vec![("failure 1".to_owned(), 2)]), "any line brings the counts");
        assert_eq!(look(1, second + INTERVAL), (true, vec![]));
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
        let (counted, now) = (Counted::new((), false), Instant::now());
        for key in 0..2 * MAX_FAILURES as u64 {
            assert!(counted.look(Some((key, String::new())), now).0);
        }
        assert_eq!(counted.recent.lock().unwrap().len(), MAX_FAILURES);
    }
}
