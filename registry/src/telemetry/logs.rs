//! Log lines on standard error, as text or JSON.

mod repeats;
mod sink;

use std::io;

use tracing::Subscriber;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{MakeWriter, SubscriberBuilder};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{InvalidLogFilter, Log, LogFilter, LogFormat};
use repeats::{Counted, Repeats};
use sink::Sink;

pub use repeats::Counts;
pub(super) use sink::DROPPED;

/// Logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The system could not start a thread.
    #[error("a thread for the log: {0}")]
    Thread(#[from] io::Error),
    /// The level is not a valid filter. `Config::validate` reports that earlier.
    #[error("log.level: {0}")]
    Level(#[from] InvalidLogFilter),
    /// A logger is installed already.
    #[error("logging is set up already: {0}")]
    Twice(#[from] TryInitError),
}

/// Starts logging to standard error. Repeated failures are counted.
pub fn init(config: &Log) -> Result<Counts, LogError> {
    let json = config.format == LogFormat::Json;
    let (repeats, sink) = (Repeats::new(json), Sink::stderr(json));
    counting(config, sink.clone(), repeats.clone())?.try_init()?;
    Ok(Counts::start(repeats, sink)?)
}

/// A line of the log about itself, with a count in a field of this name.
fn own_line(json: bool, message: &str, (name, count): (&str, u64)) -> Result<String, std::fmt::Error> {
    let mut time = String::new();
    SystemTime.format_time(&mut Writer::new(&mut time))?;
    if json {
        let target = module_path!();
        let mut line = serde_json::json!({ "timestamp": time, "level": "WARN", "message": message, "target": target });
        line[name] = count.into();
        return Ok(format!("{line}\n"));
    }
    Ok(format!("{time}  WARN {}: {message} {name}={count}\n", module_path!()))
}

/// The logger of `config`, writing to `writer`.
#[cfg(test)]
pub fn subscriber<W>(config: &Log, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>, InvalidLogFilter>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    counting(config, writer, Repeats::new(config.format == LogFormat::Json))
}

fn counting<W>(config: &Log, writer: W, repeats: Repeats) -> Result<Box<dyn Subscriber + Send + Sync>, InvalidLogFilter>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::new(config.level.parse::<LogFilter>()?.to_string());
    let lines: SubscriberBuilder<_, _, _, W> = fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    Ok(match config.format {
        LogFormat::Text => Box::new(lines.map_event_format(|format| Counted::new(format, repeats)).finish()),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true);
            Box::new(lines.map_event_format(|format| Counted::new(format, repeats)).finish())
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serving::AccessLog;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// `docs/reference/logs.md` shows this line.
    #[test]
    fn control_characters_of_clients_are_escaped_in_quotes_in_both_formats() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged_by("info", format, || tracing::info!(path = serving::loggable(b"a\tb", 10), "request"));
            assert!(text.contains(r#""a\\x09b""#), "{text}");
        }
    }

    fn logged(level: &str, format: LogFormat) -> String {
        logged_by(level, format, || {
            tracing::info!(size_bytes = 7, "blob stored");
            tracing::debug!("detail");
        })
    }

    fn logged_by(level: &str, format: LogFormat, log: impl FnOnce()) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let config = Log { level: level.into(), format, access: AccessLog::Off };
        tracing::subscriber::with_default(subscriber(&config, move || writer.clone()).unwrap(), log);
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_lines_carry_message_and_fields() {
        let text = logged("info", LogFormat::Text);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("INFO") && text.contains("blob stored size_bytes=7"), "{text}");
    }

    #[test]
    fn json_lines_are_objects() {
        let text = logged("warn,skyberth=debug", LogFormat::Json);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["message"], &lines[0]["size_bytes"]), (&"blob stored".into(), &7.into()));
    }

    #[test]
    fn a_level_that_is_no_filter_is_refused() {
        let config = Log { level: "===".into(), format: LogFormat::Text, access: AccessLog::Off };
        assert!(subscriber(&config, io::sink).is_err());
    }
}
