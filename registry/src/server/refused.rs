//! Heads that are refused before the router sees them: their line in the access log, and their count.

use std::net::SocketAddr;

use http::{Method, Request, StatusCode};
use serving::metrics::{MethodLabel, RequestLabels};
use serving::{AccessLog, TrustedProxies, loggable, loggable_method};

use crate::config::Config;
use crate::telemetry::metrics::Metrics;

/// Bytes shown of a path.
const MAX_PATH: usize = 256;

/// Stands in a line for what is not known of a head.
const UNKNOWN: &str = "-";

/// The heads that get a line, and the proxies that are believed about clients.
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
    /// Counts a head that was answered with this status, and writes its line. `head` is `None` where it could not be parsed.
    /// A head without a known method may have been a write.
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
