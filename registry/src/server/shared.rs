//! What the connections of one listener share.

use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{HeadLog, Limits};
use crate::telemetry::labels::{Refusal, RefusalLabel};
use crate::telemetry::metrics::Metrics;

/// What all connections of a listener share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) head_log: HeadLog,
    pub(super) metrics: Arc<Metrics>,
    /// Finish the requests in flight and begin none.
    pub(super) shutdown: CancellationToken,
    /// End now.
    pub(super) cut: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Shared {
    /// Counts a connection that ends because of this.
    pub(super) fn refused(&self, reason: Refusal) {
        self.metrics.connections_refused.get_or_create(&RefusalLabel { reason }).inc();
    }
}
