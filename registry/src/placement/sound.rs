//! Which endpoints are up, and whose copies were there when they came up.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Silence of an endpoint after which it may have lost copies.
const SILENCE: Duration = Duration::from_mins(10);

/// What audits found, in memory only.
#[derive(Debug, Default)]
pub(crate) struct Audits {
    /// By the endpoints' names in locators.
    endpoints: Mutex<HashMap<String, Endpoint>>,
    passed: Mutex<Option<u64>>,
    /// An endpoint came up, so that a sample is due.
    pub(super) came_up: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Endpoint {
    /// When it last said who it is.
    answered: Instant,
    /// True if a sample of its copies was there since it came up.
    sampled: bool,
}

impl Audits {
    /// An endpoint has said who it is.
    pub(super) fn answered(&self, name: &str) {
        let (now, mut endpoints) = (Instant::now(), self.lock());
        let before = endpoints.get(name).copied();
        let stayed = before.is_some_and(|before| now.duration_since(before.answered) < SILENCE);
        let sampled = stayed && before.is_some_and(|before| before.sampled);
        endpoints.insert(name.to_owned(), Endpoint { answered: now, sampled });
        // Few endpoints have answered within that time.
        endpoints.retain(|_, endpoint| now.duration_since(endpoint.answered) < SILENCE);
        drop(endpoints);
        if !sampled {
            self.came_up.notify_one();
        }
    }

    /// True if samples of all these endpoints were there since they came up.
    pub(crate) fn are_sampled(&self, names: &[String]) -> bool {
        let endpoints = self.lock();
        names.iter().all(|name| endpoints.get(name).is_some_and(|endpoint| endpoint.sampled))
    }

    /// When the last pass over all copies began, in milliseconds since the Unix epoch.
    pub(crate) fn last_pass(&self) -> Option<u64> {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn to_sample(&self) -> Vec<String> {
        let unsampled = |(name, endpoint): (&String, &Endpoint)| (!endpoint.sampled).then(|| name.clone());
        self.lock().iter().filter_map(unsampled).collect()
    }

    pub(super) fn sampled(&self, name: &str) {
        if let Some(endpoint) = self.lock().get_mut(name) {
            endpoint.sampled = true;
        }
    }

    pub(super) fn passed(&self, began_ms: u64) {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner) = Some(began_ms);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Endpoint>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_comes_up_is_sampled_first() {
        let (audits, names) = (Audits::default(), ["a".to_owned()]);
        assert!(!audits.are_sampled(&names), "a start knows nothing");
        audits.answered("a");
        assert_eq!(audits.to_sample(), names);
        audits.sampled("a");
        tokio::time::advance(SILENCE / 2).await;
        audits.answered("a");
        assert!(audits.are_sampled(&names) && audits.to_sample().is_empty());
        tokio::time::advance(SILENCE).await;
        audits.answered("a");
        assert!(!audits.are_sampled(&names), "it may have lost anything meanwhile");
    }
}
