//! The end of a node: what is only here goes to the backend first, if it can in time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Durability, Remote};
use crate::content::LocalContent;

/// How long a backend may be out of reach before the end does not wait for it any more.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// Waits until nothing is only here, for [`super::Settings::flush_timeout`] and no longer than there is hope; says how
/// things stand then. To be called while [`super::run()`] runs.
pub async fn flush(here: &Arc<LocalContent>, remote: &Arc<Remote>) -> Durability {
    let durability = || remote.durability(here.catalog.backlog(), here.catalog.unsettled_count());
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
    // Either way it is said how far it came.
    let _ = timeout_at(deadline, ended).await;
    durability()
}
