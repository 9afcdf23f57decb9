//! The only module that knows the registry's HTTP: it parses a request, calls the service once, and renders the answer.
//!
//! axum cannot match a wildcard in the middle of a path, and repository names contain slashes. So every request goes to
//! one `dispatch`, which parses the raw path into a `Route`.

mod access_log;
mod action;
mod audit;
mod body;
mod challenge;
mod conditional;
mod content_range;
mod costs;
mod dispatch;
mod error;
mod file_read;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod headers;
mod health;
mod home;
mod location;
mod login;
mod needs;
mod request;
mod route;
mod token;
mod v2;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use serving::{AccessLog, TrustedProxies, WebPages};

pub use location::Locations;

use crate::access::Access;
use crate::audit_journal::AuditJournal;
use crate::catalog::Progress;
use crate::service::Registry;
use crate::telemetry::metrics::Metrics;

/// Settings of the HTTP layer.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Longest time without a byte of a request body. Then the request fails.
    pub idle_body_timeout: Duration,
    /// Advertised as `OCI-Chunk-Max-Length`; 0: not advertised.
    pub chunk_max_length: u64,
    /// Serve `/metrics`.
    pub metrics: bool,
    /// Proxies that are trusted to name the client.
    pub trusted_proxies: TrustedProxies,
    /// The requests that are logged.
    pub access_log: AccessLog,
    /// The start of `Location` headers.
    pub locations: Locations,
    /// The rules for web pages.
    pub pages: WebPages,
    /// The audit journal; `None`: none is kept.
    pub audit: Option<Arc<AuditJournal>>,
}

#[cfg(test)]
impl HttpOptions {
    /// Options with limits that suit a busy machine.
    fn for_tests() -> Self {
        HttpOptions {
            idle_body_timeout: Duration::from_secs(30),
            chunk_max_length: 0,
            metrics: true,
            trusted_proxies: TrustedProxies::default(),
            access_log: AccessLog::Off,
            locations: Locations::Relative,
            pages: WebPages::default(),
            audit: None,
        }
    }
}

#[derive(Debug)]
struct App {
    registry: Arc<Registry>,
    access: Arc<Access>,
    metrics: Arc<Metrics>,
    options: HttpOptions,
    request_ids: request::RequestIds,
}

/// A handle to the registry once it is open. Opening may take minutes, and requests get an answer meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Door {
    app: Arc<OnceLock<App>>,
    /// The progress of an index rebuild during the opening.
    pub progress: Arc<Progress>,
}

impl Door {
    /// Opens the door: from now on this registry answers requests.
    pub fn open(&self, registry: Arc<Registry>, access: Arc<Access>, metrics: Arc<Metrics>, options: HttpOptions) {
        let app = App { registry, access, metrics, options, request_ids: request::RequestIds::new() };
        // Only the first call has an effect.
        let _ = self.app.set(app);
    }
}

/// A router for the whole API.
pub fn router(door: Door) -> Router {
    Router::new().fallback(dispatch::dispatch).with_state(door)
}
