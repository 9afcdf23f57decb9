//! Reports every call to an observer: its kind, outcome, duration and bytes.

use std::fmt::Debug;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use crate::{
    Answer, Backend, BackendError, ByteStream, Capabilities, Content, Deletion, Health, Locator, Resume, Source,
    SourceError, Stat, UnitRoot,
};

/// The kind of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// See [`Backend::check`].
    Check,
    /// See [`Backend::ping`].
    Ping,
    /// See [`Backend::locate`].
    Locate,
    /// See [`Backend::put`].
    Put,
    /// See [`Backend::get`]; it ends with its stream.
    Get,
    /// See [`Backend::unit_roots`].
    UnitRoots,
    /// See [`Backend::stat`].
    Stat,
    /// See [`Backend::delete`].
    Delete,
}

impl Call {
    /// A short name.
    pub fn name(self) -> &'static str {
        match self {
            Call::Check => "check",
            Call::Ping => "ping",
            Call::Locate => "locate",
            Call::Put => "put",
            Call::Get => "get",
            Call::UnitRoots => "unit_roots",
            Call::Stat => "stat",
            Call::Delete => "delete",
        }
    }
}

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Success.
    Done,
    /// With an error of this [kind](BackendError::kind).
    Failed(&'static str),
    /// The caller dropped it before its end.
    Dropped,
}

/// One finished call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Its kind.
    pub call: Call,
    /// Its outcome.
    pub outcome: Outcome,
    /// Bytes read from the source of a put, or returned by a stream.
    pub bytes: u64,
    /// The time from the call to its end.
    pub took: Duration,
}

/// A receiver of observations.
pub trait Observer: Debug + Send + Sync {
    /// A call has ended. This must return at once.
    fn ended(&self, observation: Observation);
}

/// Observes another backend.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<dyn Backend>,
    observer: Arc<dyn Observer>,
}

impl Metrics {
    /// Wraps a backend.
    pub fn new(inner: Arc<dyn Backend>, observer: Arc<dyn Observer>) -> Self {
        Metrics { inner, observer }
    }

    fn watch(&self, call: Call) -> Watch {
        Watch {
            observer: Arc::clone(&self.observer),
            call,
            outcome: Outcome::Dropped,
            bytes: Arc::default(),
            all: None,
            begun: Instant::now(),
        }
    }

    async fn observe<T>(
        &self,
        call: Call,
        answer: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let mut watch = self.watch(call);
        watch.end_with(answer.await)
    }
}

/// A call in progress, reported when this is dropped.
struct Watch {
    observer: Arc<dyn Observer>,
    call: Call,
    outcome: Outcome,
    bytes: Arc<AtomicU64>,
    /// The length of a whole stream in bytes. A reader with all of them need not wait for the end.
    all: Option<u64>,
    begun: Instant,
}

impl Watch {
    fn count(&self, inner: Arc<dyn Source>) -> Arc<dyn Source> {
        Arc::new(CountedSource { inner, bytes: Arc::clone(&self.bytes) })
    }

    /// The end of a stream: a success unless an error came before.
    fn end(&mut self) {
        if self.outcome == Outcome::Dropped {
            self.outcome = Outcome::Done;
        }
    }

    fn end_with<T>(&mut self, result: Result<T, BackendError>) -> Result<T, BackendError> {
        self.outcome = match &result {
            Ok(_) => Outcome::Done,
            Err(error) => Outcome::Failed(error.kind()),
        };
        result
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        if self.all == Some(bytes) {
            self.end();
        }
        let Watch { call, outcome, begun, .. } = *self;
        self.observer.ended(Observation { call, outcome, bytes, took: begun.elapsed() });
    }
}

/// A source whose bytes are counted.
#[derive(Debug)]
struct CountedSource {
    inner: Arc<dyn Source>,
    bytes: Arc<AtomicU64>,
}

impl Source for CountedSource {
    fn content(&self) -> &Content {
        self.inner.content()
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        Box::pin(async move {
            let bytes = self.inner.read(range).await?;
            self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(bytes)
        })
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for Metrics {
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
        Box::pin(self.observe(Call::Check, self.inner.check()))
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(self.observe(Call::Ping, self.inner.ping()))
    }

    fn locate(&self, source: Arc<dyn Source>) -> Answer<'_, Option<Locator>> {
        Box::pin(self.observe(Call::Locate, self.inner.locate(source)))
    }

    fn put<'a>(&'a self, source: Arc<dyn Source>, resume: &'a dyn Resume) -> Answer<'a, Locator> {
        Box::pin(async move {
            let mut watch = self.watch(Call::Put);
            let source = watch.count(source);
            watch.end_with(self.inner.put(source, resume).await)
        })
    }

    fn put_again<'a>(&'a self, source: Arc<dyn Source>, resume: &'a dyn Resume) -> Answer<'a, Locator> {
        Box::pin(async move {
            let mut watch = self.watch(Call::Put);
            let source = watch.count(source);
            watch.end_with(self.inner.put_again(source, resume).await)
        })
    }

    fn get<'a>(&'a self, content: &'a Content, locator: &'a Locator, range: Range<u64>) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let mut watch = self.watch(Call::Get);
            let all = range.end.saturating_sub(range.start);
            let open = watch.end_with(self.inner.get(content, locator, range).await)?;
            watch.outcome = Outcome::Dropped;
            watch.all = Some(all);
            let counted = stream::unfold((open, watch), |(mut open, mut watch)| async move {
                let Some(item) = open.next().await else {
                    watch.end();
                    return None;
                };
                let item = match item {
                    Ok(bytes) => {
                        watch.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                        Ok(bytes)
                    }
                    error => watch.end_with(error),
                };
                Some((item, (open, watch)))
            });
            Ok(counted.boxed())
        })
    }

    fn unit_roots<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Option<Arc<[UnitRoot]>>> {
        Box::pin(self.observe(Call::UnitRoots, self.inner.unit_roots(content, locator)))
    }

    fn stat<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Stat> {
        Box::pin(self.observe(Call::Stat, self.inner.stat(content, locator)))
    }

    fn delete<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Deletion> {
        Box::pin(self.observe(Call::Delete, self.inner.delete(content, locator)))
    }

    fn delete_at<'a>(&'a self, endpoint: &'a str, content: &'a Content, locator: &'a Locator) -> Answer<'a, Deletion> {
        Box::pin(self.observe(Call::Delete, self.inner.delete_at(endpoint, content, locator)))
    }

    fn health(&self) -> Health {
        self.inner.health()
    }
}
