//! Retries calls that may succeed later: a few times, with growing pauses, and never before the time the backend asked
//! for.

use std::fmt::{self, Debug};
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::layer::{Call, Layer, Layered, Read};
use crate::{Answer, Backend, BackendError, ByteStream, Content, Locator};

/// The number of attempts, and the pauses between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// Attempts of one call, including the first; for a stream, attempts to resume.
    pub attempts: u32,
    /// The pause after the first attempt; it doubles each time.
    pub first_pause: Duration,
    /// The longest pause. If a backend asks for a longer one, its error goes to the caller at once.
    pub longest_pause: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        RetryConfig { attempts: 4, first_pause: Duration::from_millis(250), longest_pause: Duration::from_secs(10) }
    }
}

/// The randomness of pauses: a function that returns a uniform number from 0 to 255.
#[derive(Clone)]
pub struct Jitter(Arc<dyn Fn() -> u8 + Send + Sync>);

impl Jitter {
    /// Randomness from this function.
    pub fn new(random: impl Fn() -> u8 + Send + Sync + 'static) -> Self {
        Jitter(Arc::new(random))
    }

    /// Randomness of the system.
    pub fn from_system() -> Self {
        Jitter::new(|| {
            let mut byte = [0];
            getrandom::fill(&mut byte).expect("the system has randomness once it has booted");
            byte[0]
        })
    }

    /// Between half of the pause and all of it, so that callers that failed together do not return together.
    fn apply(&self, pause: Duration) -> Duration {
        pause / 2 + pause * u32::from((self.0)()) / 510
    }
}

impl Debug for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jitter")
    }
}

/// Retries around another backend.
pub type Retry = Layered<Retrying>;

/// The layer of a [`Retry`].
#[derive(Clone, Debug)]
pub struct Retrying {
    policy: Policy,
    opens_again: bool,
}

#[derive(Clone, Debug)]
struct Policy {
    /// Endpoints of the backend, for the log.
    name: String,
    config: RetryConfig,
    jitter: Jitter,
}

impl Policy {
    /// The pause before the next attempt after `failed` failed ones; `None` if there is to be none.
    fn pause(&self, failed: u32, error: &BackendError) -> Option<Duration> {
        if !error.is_retryable() || failed >= self.config.attempts {
            return None;
        }
        let doubled = self.config.first_pause.saturating_mul(1 << (failed - 1).min(20));
        let pause = self.jitter.apply(doubled.min(self.config.longest_pause));
        match error.retry_after() {
            Some(asked) if asked > self.config.longest_pause => None,
            Some(asked) => Some(pause.max(asked)),
            None => Some(pause),
        }
    }

    async fn run<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, BackendError>
    where
        F: Future<Output = Result<T, BackendError>>,
    {
        let mut failed = 0;
        loop {
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failed += 1;
            let Some(pause) = self.pause(failed, &error) else { return Err(error) };
            tracing::debug!(backend = self.name, %error, failed, pause_ms = pause.as_millis() as u64, "trying again");
            tokio::time::sleep(pause).await;
        }
    }
}

impl Retry {
    /// Wraps a backend.
    pub fn new(inner: Arc<dyn Backend>, config: RetryConfig, jitter: Jitter) -> Self {
        let policy = Policy { name: super::name(&*inner), config, jitter };
        Layered { inner, layer: Retrying { policy, opens_again: true } }
    }

    /// Gives up earlier on a read that cannot be begun, or resumed after it broke off: other backends with the same
    /// content are then asked sooner.
    #[must_use]
    pub fn opening_once(self) -> Self {
        Layered { layer: Retrying { opens_again: false, ..self.layer }, ..self }
    }
}

/// A stream that is reopened where it broke off.
struct Resumed {
    inner: Arc<dyn Backend>,
    policy: Policy,
    content: Content,
    locator: Locator,
    rest: Range<u64>,
    /// `None`: to be opened.
    open: Option<ByteStream>,
    opens_again: bool,
    failed: u32,
}

impl Resumed {
    async fn next(mut self) -> Result<Option<(bytes::Bytes, Self)>, BackendError> {
        loop {
            let outcome = match &mut self.open {
                Some(open) => open.next().await.transpose(),
                None => match self.inner.get(&self.content, &self.locator, self.rest.clone()).await {
                    Ok(open) => {
                        self.open = Some(open);
                        continue;
                    }
                    Err(error) if !self.opens_again => return Err(error),
                    Err(error) => Err(error),
                },
            };
            match outcome {
                Ok(None) => return Ok(None),
                Ok(Some(bytes)) => {
                    self.rest.start += bytes.len() as u64;
                    return Ok(Some((bytes, self)));
                }
                Err(error) => {
                    self.open = None;
                    self.failed += 1;
                    let Some(pause) = self.policy.pause(self.failed, &error) else { return Err(error) };
                    let (backend, pause_ms) = (&self.policy.name, pause.as_millis() as u64);
                    tracing::debug!(backend, %error, at = self.rest.start, pause_ms, "going on with a broken read");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

impl Layer for Retrying {
    fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        attempt: impl Fn() -> Answer<'a, T> + Send + Sync + 'a,
    ) -> Answer<'a, T> {
        match call {
            // It asks for the current state.
            Call::Identify => attempt(),
            Call::UnitProof if !self.opens_again => attempt(),
            _ => Box::pin(self.policy.run(attempt)),
        }
    }

    fn get<'a>(&'a self, inner: &'a Arc<dyn Backend>, read: Read<'a>) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let open = match self.opens_again {
                true => self.policy.run(|| read.at(&**inner)).await?,
                false => read.at(&**inner).await?,
            };
            let resumed = Resumed {
                inner: Arc::clone(inner),
                policy: self.policy.clone(),
                content: read.content.clone(),
                locator: read.locator.clone(),
                rest: read.range,
                open: Some(open),
                opens_again: self.opens_again,
                failed: 0,
            };
            Ok(stream::try_unfold(resumed, Resumed::next).boxed())
        })
    }
}
