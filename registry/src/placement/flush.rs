//! The end of a node: what is only here goes to the backend first, if it can in time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::Durability;
use crate::service::Registry;

/// How long a backend may be out of reach before the end does not wait for it any more.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// Waits until nothing is only here, for [`super::Settings::flush_timeout`] and no longer than there is hope; says how
/// things stand then. `None` at once on a node without a backend. To be called while [`super::run()`] runs.
pub async fn flush(registry: &Arc<Registry>) -> Option<Durability> {
    let remote = registry.remote.clone()?;
    let mut changes = registry.catalog().placement_changes()?;
    let deadline = Instant::now() + remote.settings.flush_timeout;
    let hopeless = async {
        let mut since = Instant::now();
        while since.elapsed() < GIVE_UP_AFTER {
            if remote.backend.health().is_available() {
                since = Instant::now();
            }
            sleep(GIVE_UP_AFTER / 50).await;
        }
    };
    let placed = async {
        loop {
            changes.mark_unchanged();
            if registry.catalog().backlog().count == 0 {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    let ended = async {
        tokio::select! {
            () = hopeless => {}
            () = placed => {}
        }
    };
    // Either way it is said how far it came.
    let _ = timeout_at(deadline, ended).await;
    registry.durability()
}
