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
    /// True for listeners of a portal or gateway, whose requests have a target of their own in the log.
    is_of_portal: bool,
}

impl From<&Config> for HeadLog {
    fn from(config: &Config) -> Self {
        HeadLog { access_log: config.log.access, trusted_proxies: config.server.trusted(), is_of_portal: false }
    }
}

impl HeadLog {
    /// As that of the registry, for a listener of a portal or gateway.
    pub fn of_portal(config: &Config) -> Self {
        HeadLog { is_of_portal: true, ..HeadLog::from(config) }
    }

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
        let status = status.as_u16();
        // A target must be a constant.
        if self.is_of_portal {
            tracing::info!(target: "portal::access", { %client, method, route = UNKNOWN, path, status }, "request");
        } else {
            tracing::info!(target: "skyberth::access", { %client, method, route = UNKNOWN, path, status }, "request");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestLog;

    /// They had the target of the registry, which a filter for the portal's lines does not show.
    #[test]
    fn refused_heads_have_the_target_of_their_listener() {
        let (log, mut config) = (TestLog::new(), Config::default());
        config.log.access = AccessLog::All;
        for (heads, target) in
            [(HeadLog::from(&config), "skyberth::access"), (HeadLog::of_portal(&config), "portal::access")]
        {
            let peer = SocketAddr::from(([192, 0, 2, 1], 9));
            heads.refused(&Metrics::new(), peer, None::<&Request<()>>, StatusCode::BAD_REQUEST);
            let lines = log.take();
            assert_eq!(lines.len(), 1);
            assert_eq!((&lines[0]["target"], &lines[0]["status"]), (&target.into(), &400.into()), "{}", lines[0]);
        }
    }
}
