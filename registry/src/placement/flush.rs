//! The flush at a stop: content that is only on this node is placed first, if there is time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Durability, Remote};
use crate::content::LocalContent;

/// How long a backend may be unreachable before a stop no longer waits for it.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// Waits until all content is at the backend, at most [`super::Settings::flush_timeout`]. It gives up sooner if the
/// backend stays unreachable. Returns the state then. [`super::run()`] must be running.
pub async fn flush(here: &Arc<LocalContent>, remote: &Arc<Remote>) -> Durability {
    let durability = || remote.durability(&here.catalog);
    let Some(mut changes) = here.catalog.placement_changes() else { return durability() };
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
            if here.catalog.backlog().count == 0 {
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
    // The state is returned in either case.
    let _ = timeout_at(deadline, ended).await;
    durability()
}
