//! The log of one test, as JSON.

use std::io;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use serving::AccessLog;
use tracing::subscriber::DefaultGuard;

use crate::config::{Log, LogFormat};
use crate::telemetry::logs::subscriber;

/// A second subscriber. With only one, tracing caches per callsite whether it is enabled, as seen by the first thread
/// that reaches it. Since other tests run without a log, lines went missing.
static SECOND: LazyLock<tracing::Dispatch> = LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));

/// Records what this thread logs, until dropped.
pub(crate) struct TestLog {
    lines: Lines,
    _guard: DefaultGuard,
}

impl TestLog {
    pub(crate) fn new() -> Self {
        LazyLock::force(&SECOND);
        let lines = Lines::default();
        let writer = lines.clone();
        let log = Log { level: "info".into(), format: LogFormat::Json, access: AccessLog::Off };
        let guard = tracing::subscriber::set_default(subscriber(&log, move || writer.clone()).unwrap());
        TestLog { lines, _guard: guard }
    }

    /// The lines since the last call.
    pub(crate) fn take(&self) -> Vec<Value> {
        let text = String::from_utf8(std::mem::take(&mut *self.lines.bytes())).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
