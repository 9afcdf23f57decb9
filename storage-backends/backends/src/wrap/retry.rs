//! Retries calls that may succeed later: a few times, with growing pauses, and never before the time the backend asked
//! for.

use std::fmt::{self, Debug};
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use crate::{
    Answer, Backend, BackendError, ByteStream, Capabilities, Content, Deletion, Health, Locator, Resume, Source, Stat,
    UnitRoot,
};

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
#[derive(Clone, Debug)]
pub struct Retry {
    inner: Arc<dyn Backend>,
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

    async fn run<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, BackendError>
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
        let name = inner.endpoints().join(", ");
        Retry { inner, policy: Policy { name, config, jitter }, opens_again: true }
    }

    /// Gives up earlier on a read that cannot be begun, or resumed after it broke off: other backends with the same
    /// content are then asked sooner.
    #[must_use]
    pub fn opening_once(self) -> Self {
        Retry { opens_again: false, ..self }
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

#[deny(clippy::missing_trait_methods)]
impl Backend for Retry {
    fn kind(&self) -> &str {
        self.inner.kind()
    }

    fn profile(&self) -> &str {
        self.inner.profile()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn endpoints(&self) -> Vec<String> {
        self.inner.endpoints()
    }

    fn check(&self) -> Answer<'_, ()> {
        Box::pin(self.policy.run(|| self.inner.check()))
    }

    /// Only once: it asks for the current state.
    fn ping(&self) -> Answer<'_, ()> {
        self.inner.ping()
    }

    fn locate(&self, source: Arc<dyn Source>) -> Answer<'_, Option<Locator>> {
        Box::pin(self.policy.run(move || self.inner.locate(Arc::clone(&source))))
    }

    fn put<'a>(&'a self, source: Arc<dyn Source>, resume: &'a dyn Resume) -> Answer<'a, Locator> {
        Box::pin(self.policy.run(move || self.inner.put(Arc::clone(&source), resume)))
    }

    fn put_again<'a>(&'a self, source: Arc<dyn Source>, resume: &'a dyn Resume) -> Answer<'a, Locator> {
        Box::pin(self.policy.run(move || self.inner.put_again(Arc::clone(&source), resume)))
    }

    fn get<'a>(&'a self, content: &'a Content, locator: &'a Locator, range: Range<u64>) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let open = match self.opens_again {
                true => self.policy.run(|| self.inner.get(content, locator, range.clone())).await?,
                false => self.inner.get(content, locator, range.clone()).await?,
            };
            let resumed = Resumed {
                inner: Arc::clone(&self.inner),
                policy: self.policy.clone(),
                content: content.clone(),
                locator: locator.clone(),
                rest: range,
                open: Some(open),
                opens_again: self.opens_again,
                failed: 0,
            };
            Ok(stream::try_unfold(resumed, Resumed::next).boxed())
        })
    }

    fn unit_roots<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Option<Arc<[UnitRoot]>>> {
        match self.opens_again {
            true => Box::pin(self.policy.run(move || self.inner.unit_roots(content, locator))),
            false => self.inner.unit_roots(content, locator),
        }
    }

    fn stat<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Stat> {
        Box::pin(self.policy.run(move || self.inner.stat(content, locator)))
    }

    fn delete<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Deletion> {
        Box::pin(self.policy.run(move || self.inner.delete(content, locator)))
    }

    fn delete_at<'a>(&'a self, endpoint: &'a str, content: &'a Content, locator: &'a Locator) -> Answer<'a, Deletion> {
        Box::pin(self.policy.run(move || self.inner.delete_at(endpoint, content, locator)))
    }

    fn health(&self) -> Health {
        self.inner.health()
    }
}
