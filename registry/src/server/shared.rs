//! Data shared by the connections of a listener.

use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::place::Places;
use super::{Entry, HeadLog, Limits};
use crate::telemetry::labels::{Refusal, RefusalLabel};
use crate::telemetry::metrics::Metrics;

/// Data shared by the connections of a listener.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) entry: Entry,
    pub(super) limits: Limits,
    pub(super) places: Places,
    pub(super) head_log: HeadLog,
    pub(super) metrics: Arc<Metrics>,
    /// Connections finish the requests in flight, and begin none.
    pub(super) shutdown: CancellationToken,
    /// Connections end now.
    pub(super) cut: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Shared {
    /// Counts a connection that is ended for this reason.
    pub(super) fn refused(&self, reason: Refusal) {
        self.metrics.connections_refused.get_or_create(&RefusalLabel { reason }).inc();
    }
}
