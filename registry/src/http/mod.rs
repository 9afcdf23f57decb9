//! The only place that knows HTTP: parse a request, call the service once, render the answer.
//!
//! axum cannot match a wildcard in the middle of a path and repository names contain slashes, so every request goes to one
//! `dispatch`, which reads the raw path into a `Route`.

mod body;
mod conditional;
mod dispatch;
mod error;
mod headers;
mod health;
mod home;
mod query;
mod range;
mod request;
mod route;
mod v2;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;

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
}

#[derive(Debug)]
struct App {
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    options: HttpOptions,
    request_ids: request::RequestIds,
}

/// The whole API.
pub fn router(registry: Arc<Registry>, metrics: Arc<Metrics>, options: HttpOptions) -> Router {
    let app = App { registry, metrics, options, request_ids: request::RequestIds::new() };
    Router::new().fallback(dispatch::dispatch).with_state(Arc::new(app))
}
