//! The limits of one listener.

use std::sync::Arc;
use std::time::Duration;

use serving::PERMIT_PATIENCE;

use super::buffers::Buffers;
use crate::config;

/// Limits in force while serving, from `[server]`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most open connections. Beyond them, a few are accepted for one health check each.
    pub max_connections: usize,
    /// How long a request waits for one of these.
    pub permit_patience: Duration,
    /// Longest time for a request's head: from accepting, or from the first byte of a later request. For an h2 peer,
    /// also the longest time from accepting to its first request.
    pub header_timeout: Duration,
    /// Longest time without a request in flight. Then the connection is closed.
    pub keep_alive_timeout: Duration,
    /// Longest time without the peer reading a byte. Then the connection is cut.
    pub write_stall_timeout: Duration,
    /// Most bytes of all header lines of a request. More are answered 431.
    pub max_header_bytes: usize,
    /// Most bytes of a request target. More are answered 414. RFC 9110 4.1 asks for at least 8000.
    pub max_uri_bytes: usize,
    /// Most requests in flight on one h2 connection.
    pub max_streams: u32,
    /// Time for running requests to finish after the shutdown began.
    pub shutdown_grace: Duration,
    /// Memory for requests, frames and windows of all connections.
    pub buffers: Arc<Buffers>,
}

impl From<&config::Server> for Limits {
    fn from(server: &config::Server) -> Self {
        Limits {
            max_connections: server.max_connections,
            permit_patience: PERMIT_PATIENCE,
            header_timeout: server.header_timeout.duration(),
            keep_alive_timeout: server.keep_alive_timeout.duration(),
            write_stall_timeout: server.idle_body_timeout.duration(),
            max_header_bytes: server.max_header_bytes.in_memory(),
            max_uri_bytes: 8 * 1024,
            // h2's recommended least (RFC 9113 6.5.2); a client pushing 100 layers at once is not held back.
            max_streams: 100,
            shutdown_grace: server.shutdown_grace.duration(),
            buffers: Buffers::of_this_process(),
        }
    }
}

impl Limits {
    /// Bytes of a head at which the HTTP library gives up by itself, with a bare 431. Above ours, so that a head
    /// between the two gets the answer with a body that clients can show.
    pub(super) fn hard_head_bytes(&self) -> usize {
        2 * self.max_header_bytes + self.max_uri_bytes
    }
}
