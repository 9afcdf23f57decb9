//! The only place that knows HTTP: parse a request, call the service once, render the answer.
//!
//! axum cannot match a wildcard in the middle of a path and repository names contain slashes, so every request goes to one
//! `dispatch`, which reads the raw path into a `Route`.

mod access_log;
mod action;
mod body;
mod conditional;
mod content_range;
mod dispatch;
mod error;
mod file_read;
mod headers;
mod health;
mod home;
mod location;
mod request;
mod route;
mod v2;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use serving::{AccessLog, TrustedProxies};

pub use location::Locations;

use crate::service::Registry;
use crate::telemetry::metrics::Metrics;

/// What handlers need besides the registry.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// A body of which nothing comes for so long is given up.
    pub idle_body_timeout: Duration,
    /// Advertised as `OCI-Chunk-Max-Length`; 0 = not advertised.
    pub chunk_max_length: u64,
    /// Serve `/metrics`.
    pub metrics: bool,
    /// Proxies that are believed when they name the client.
    pub trusted_proxies: TrustedProxies,
    /// Which requests get a line in the log.
    pub access_log: AccessLog,
    /// How `Location`s begin.
    pub locations: Locations,
}

#[cfg(test)]
impl HttpOptions {
    /// With time for a busy machine.
    fn for_tests() -> Self {
        HttpOptions {
            idle_body_timeout: Duration::from_secs(30),
            chunk_max_length: 0,
            metrics: true,
            trusted_proxies: TrustedProxies::default(),
            access_log: AccessLog::Off,
            locations: Locations::Relative,
        }
    }
}

#[derive(Debug)]
struct App {
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    options: HttpOptions,
    request_ids: request::RequestIds,
}

/// Where the registry will be once it is open: opening may take minutes, and whoever asks meanwhile shall get an answer.
#[derive(Clone, Debug, Default)]
pub struct Door(Arc<OnceLock<App>>);

impl Door {
    /// From now on requests are answered by this registry.
    pub fn open(&self, registry: Arc<Registry>, metrics: Arc<Metrics>, options: HttpOptions) {
        let app = App { registry, metrics, options, request_ids: request::RequestIds::new() };
        // A door that is open stays as it is.
        let _ = self.0.set(app);
    }
}

/// The whole API.
pub fn router(door: Door) -> Router {
    Router::new().fallback(dispatch::dispatch).with_state(door)
}
