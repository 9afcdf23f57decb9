//! Whether the process stood still: stopped by a signal, or with its machine.

use std::time::Duration;

use tokio::time::Instant;

/// A timer of a process that runs is never as late.
const LATE: Duration = Duration::from_secs(1);

/// Time in which what waits in the sockets is read after a standstill.
const CATCH_UP: Duration = Duration::from_secs(5);

/// When to look again, if a timer that fired now should have fired long ago. Then nobody could read what has come
/// meanwhile, so the silence is not the peer's.
pub fn after_standstill(due: Instant) -> Option<Instant> {
    let now = Instant::now();
    (now.saturating_duration_since(due) > LATE).then(|| now + CATCH_UP)
}
