//! Logs and counts heads that are refused before the router sees them.

use std::net::SocketAddr;

use http::{Method, Request, StatusCode};
use serving::metrics::{MethodLabel, RequestLabels};
use serving::{AccessLog, TrustedProxies, loggable, loggable_method};

use crate::config::Config;
use crate::telemetry::metrics::Metrics;

/// Most bytes of a path in a line.
const MAX_PATH: usize = 256;

/// Stands for unknown parts of a head in a line.
const UNKNOWN: &str = "-";

/// Which heads are logged, and which proxies are trusted to name the client.
#[derive(Clone, Debug, Default)]
pub struct HeadLog {
    access_log: AccessLog,
    trusted_proxies: TrustedProxies,
}

impl From<&Config> for HeadLog {
    fn from(config: &Config) -> Self {
        HeadLog { access_log: config.log.access, trusted_proxies: config.server.trusted() }
    }
}

impl HeadLog {
    pub(super) fn trusted_proxies(&self) -> &TrustedProxies {
        &self.trusted_proxies
    }

    /// Counts a head that was answered with this status, and logs it. `head` is `None` if it could not be parsed. A
    /// head with an unknown method is logged like a write.
    pub(super) fn refused<B>(
        &self,
        metrics: &Metrics,
        peer: SocketAddr,
        head: Option<&Request<B>>,
        status: StatusCode,
    ) {
        let method = head.map_or(MethodLabel::OTHER, |head| head.method().into());
        let labels = RequestLabels { operation: "none", method, status: status.as_u16() };
        metrics.http_request_duration.get_or_create(&labels).observe(0.0);
        if !self.access_log.covers(head.map_or(&Method::POST, Request::method)) {
            return;
        }
        let client = head.map_or(peer.ip(), |head| self.trusted_proxies.client(peer.ip(), head.headers()));
        let method = head.map_or_else(|| UNKNOWN.to_owned(), |head| loggable_method(head.method()));
        let path = head.map_or_else(|| UNKNOWN.to_owned(), |head| loggable(head.uri().path().as_bytes(), MAX_PATH));
        tracing::info!(target: "skyberth::access", { %client, method, route = UNKNOWN, path, status = status.as_u16() },
            "request");
    }
}
