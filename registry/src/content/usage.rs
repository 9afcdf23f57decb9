//! Counts the local files of content for the metrics, by walking the store from time to time.

use std::sync::Arc;
use std::time::Duration;

use content_store::{ContentStore, StoreError};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::LocalContent;

/// Least time between two counts.
const EVERY: Duration = Duration::from_secs(15);
/// Pause after a count, as a multiple of its duration. Counting so takes one percent of a thread.
const REST: u32 = 100;
/// Longest pause, however long counts take.
const AT_LEAST_EVERY: Duration = Duration::from_mins(10);

/// Files and bytes of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    files: u64,
    bytes: u64,
}

/// Updates the metrics until `stop`.
pub async fn keep_counting(content: Arc<LocalContent>, stop: CancellationToken) {
    loop {
        let (began, token) = (Instant::now(), stop.clone());
        match content.blocking(move |store| count(store, &token)).await {
            Ok(Usage { files, bytes }) if !stop.is_cancelled() => {
                content.metrics.content_files.set(i64::try_from(files).unwrap_or(i64::MAX));
                content.metrics.content_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
            }
            Ok(_) => return,
            Err(error) => tracing::warn!(%error, "cannot count the stored content"),
        }
        if stop.run_until_cancelled(sleep(pause(began.elapsed()))).await.is_none() {
            return;
        }
    }
}

/// The pause after a count.
fn pause(took: Duration) -> Duration {
    took.saturating_mul(REST).clamp(EVERY, AT_LEAST_EVERY)
}

/// Counts the files of a store. At `stop` it ends early with a part.
fn count(store: &ContentStore, stop: &CancellationToken) -> Result<Usage, StoreError> {
    let mut usage = Usage::default();
    for content in store.walk().take_while(|_| !stop.is_cancelled()) {
        match content {
            Ok(content) => {
                usage.files += 1;
                usage.bytes += content.length;
            }
            Err(StoreError::Stranger(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixture;

    /// After a count that took a minute, the figures were not updated for two hours.
    #[test]
    fn figures_are_never_older_than_ten_minutes_and_a_count() {
        assert_eq!(pause(Duration::ZERO), EVERY);
        assert_eq!(pause(Duration::from_secs(1)), Duration::from_secs(100));
        assert_eq!(pause(Duration::from_mins(1)), AT_LEAST_EVERY);
        assert_eq!(pause(Duration::MAX), AT_LEAST_EVERY);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn stored_content_is_counted() {
        let fixture = Fixture::new(Duration::from_hours(1));
        fixture.push_blob(b"five!").await;
        fixture.push_blob(b"seven!!").await;
        let stop = CancellationToken::new();
        let counting = tokio::spawn(keep_counting(Arc::clone(fixture.registry.content()), stop.clone()));
        let metrics = &fixture.registry.metrics;
        while metrics.content_files.get() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!((metrics.content_files.get(), metrics.content_bytes.get()), (2, 12));
        stop.cancel();
        counting.await.unwrap();
    }
}
