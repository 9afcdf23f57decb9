//! Stops asking a backend that fails again and again, and permanently one that lies.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use super::layer::{Call, Layer, Layered, Read};
use crate::{Answer, Backend, BackendError, ByteStream, EndpointHealth, EndpointState, Health};

/// When to stop asking a backend, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Consecutive failures that suffice. Wrong bytes suffice alone.
    pub failures: u32,
    /// The first rest. It doubles each time, until a call succeeds.
    pub first_rest: Duration,
    /// The longest rest.
    pub longest_rest: Duration,
}

impl Default for BreakerConfig {
    /// A rejected call costs a portal that is down almost nothing, and a longer rest would outlast the outage. After
    /// half a minute of failures, reads and placements would wait for minutes.
    fn default() -> Self {
        BreakerConfig { failures: 5, first_rest: Duration::from_secs(10), longest_rest: Duration::from_secs(30) }
    }
}

/// A breaker before another backend. Clones share it.
pub type Breaker = Layered<Breaking>;

/// The layer of a [`Breaker`].
#[derive(Clone, Debug)]
pub struct Breaking(Arc<Switch>);

#[derive(Debug)]
struct Switch {
    /// Endpoints of the backend, for the log.
    name: String,
    config: BreakerConfig,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Consecutive failures.
    failures: u32,
    /// Consecutive rests, which make the next one longer.
    rests: u32,
    resting_until: Option<Instant>,
    distrusted: bool,
}

impl Switch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn endpoint_state(&self) -> EndpointState {
        let state = self.state();
        if state.distrusted {
            return EndpointState::Distrusted;
        }
        let rest = state.resting_until.map(|until| until.saturating_duration_since(Instant::now()));
        rest.filter(|rest| !rest.is_zero()).map_or(EndpointState::Available, EndpointState::Resting)
    }

    /// Refuses while the backend rests.
    fn admit(&self) -> Result<(), BackendError> {
        match self.endpoint_state() {
            EndpointState::Available => Ok(()),
            EndpointState::Resting(rest) => {
                Err(BackendError::Unavailable { retry_after: Some(rest), cause: "left alone after failures".into() })
            }
            EndpointState::Distrusted => Err(BackendError::Misbehaves { cause: "not trusted any more".into() }),
        }
    }

    fn note<T>(&self, result: &Result<T, BackendError>) {
        let Err(error) = result else {
            let mut state = self.state();
            state.failures = 0;
            state.rests = 0;
            return;
        };
        match error {
            BackendError::Misbehaves { .. } => {
                tracing::error!(backend = self.name, %error, "a backend misbehaves, and is not used any more");
                self.state().distrusted = true;
            }
            BackendError::Corrupt { .. } => {
                tracing::error!(backend = self.name, %error, "a backend gave other bytes than those asked for");
                self.rest(Duration::ZERO);
            }
            error if error.is_retryable() => self.fail(error),
            // It works; it only lacks the content, or refuses it.
            _ => {}
        }
    }

    fn fail(&self, error: &BackendError) {
        let enough = {
            let mut state = self.state();
            state.failures += 1;
            // After a rest, one failure is enough for the next.
            state.failures >= self.config.failures || state.rests > 0
        };
        // Other calls must respect a request to stay away, too.
        if enough || error.retry_after().is_some() {
            self.rest(error.retry_after().unwrap_or_default());
        }
    }

    fn rest(&self, at_least: Duration) {
        let rest = {
            let mut state = self.state();
            let doubled = self.config.first_rest.saturating_mul(1 << state.rests.min(16));
            let rest = doubled.min(self.config.longest_rest).max(at_least);
            state.rests += 1;
            state.failures = 0;
            state.resting_until = Some(Instant::now() + rest);
            rest
        };
        tracing::warn!(backend = self.name, rest_ms = rest.as_millis() as u64, "a backend is left alone for a while");
    }
}

impl Breaker {
    /// Wraps a backend.
    pub fn new(inner: Arc<dyn Backend>, config: BreakerConfig) -> Self {
        let name = super::name(&*inner);
        Layered { inner, layer: Breaking(Arc::new(Switch { name, config, state: Mutex::default() })) }
    }
}

impl Layer for Breaking {
    fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        attempt: impl Fn() -> Answer<'a, T> + Send + Sync + 'a,
    ) -> Answer<'a, T> {
        // It contacts no endpoint, so it works during a rest too.
        if call == Call::Locate {
            return attempt();
        }
        Box::pin(async move {
            self.0.admit()?;
            let result = attempt().await;
            self.0.note(&result);
            result
        })
    }

    fn get<'a>(&'a self, inner: &'a Arc<dyn Backend>, read: Read<'a>) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            self.0.admit()?;
            let open = match read.at(&**inner).await {
                Ok(open) => open,
                error => {
                    self.0.note(&error);
                    return error;
                }
            };
            // The end of the stream counts too; its beginning says little.
            let state = (open, Arc::clone(&self.0));
            let watched = stream::unfold(state, |(mut open, switch)| async move {
                let item = open.next().await?;
                switch.note(&item);
                Some((item, (open, switch)))
            });
            Ok(watched.boxed())
        })
    }

    fn health(&self, inner: Health) -> Health {
        let state = self.0.endpoint_state();
        let worse = |endpoint: EndpointHealth| match state {
            EndpointState::Available => endpoint,
            state => EndpointHealth { state, ..endpoint },
        };
        Health { endpoints: inner.endpoints.into_iter().map(worse).collect() }
    }
}
