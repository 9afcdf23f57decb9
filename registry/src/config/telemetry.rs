//! `[log]` and `[metrics]`: log lines and metrics for the operator.

use serde::{Deserialize, Serialize};
use serving::AccessLog;

use super::LogFilter;
use super::validate::Faults;

/// The log on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Least level of a log line: `error`, `warn`, `info`, `debug` or `trace`, or a level for each module such as
    /// `info,skyberth::server=debug`. `off`: no lines.
    ///
    /// Crates that are not ours are heard from `warn` on, unless a directive names them.
    pub level: String,
    /// Form of a log line. `text`: for people. `json`: one object a line.
    pub format: LogFormat,
    /// Requests that get a line each in the [log](reference/logs.md). `off`: none. `writes`: those that
    /// may change something. `all`: every one.
    pub access: AccessLog,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Plain text, for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Log { level: "info".to_owned(), format: LogFormat::Text, access: AccessLog::Writes }
    }
}

impl Log {
    pub(super) fn validate(&self, faults: &mut Faults) {
        if let Err(error) = self.level.parse::<LogFilter>() {
            faults.add("log.level", error.to_string());
        }
    }
}

/// The `/metrics` page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Serve the page `/metrics`.
    pub enabled: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics { enabled: true }
    }
}
