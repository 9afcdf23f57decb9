//! TLS of the listeners of a process.

use std::sync::Arc;

use anyhow::Context;
use http::HeaderValue;
use reqwest::Url;

use crate::config::{Config, Server};
use crate::telemetry::metrics::Metrics;
use crate::tls::{Files, Tls, Watch};

/// The TLS of the listeners, and the watch that keeps its certificate up to date. `None`: plain HTTP. Warns if clients
/// of `url` would refuse the certificate.
pub(super) fn load(config: &Config, url: &str, metrics: &Arc<Metrics>) -> anyhow::Result<Option<(Tls, Watch)>> {
    let Some((certificate, key)) = config.server.tls.files() else { return Ok(None) };
    let (current, watch) = Files::new(certificate, key).load(Arc::clone(metrics)).context("server.tls")?;
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    if let Some(host) = host.filter(|host| !current.get().covers(host)) {
        tracing::warn!(host, "the TLS certificate is not for this host, so clients that use the URL will refuse it");
    }
    Ok(Some((Tls::new(current), watch)))
}

/// The TLS of the registry's own listener, which may bind browsers to https.
pub(super) fn of_registry(tls: Tls, server: &Server) -> Tls {
    let strict_transport = server.strict_transport().and_then(|promise| HeaderValue::try_from(promise).ok());
    Tls { strict_transport, ..tls }
}
