//! Reports every call to an observer: its kind, outcome, duration and bytes.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use super::layer::{Call, Layer, Layered, Read};
use crate::{Answer, Backend, BackendError, ByteStream, Content, Locator, Source, SourceError};

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
pub type Metrics = Layered<Observed>;

/// The layer of [`Metrics`].
#[derive(Clone, Debug)]
pub struct Observed(Arc<dyn Observer>);

impl Metrics {
    /// Wraps a backend.
    pub fn new(inner: Arc<dyn Backend>, observer: Arc<dyn Observer>) -> Self {
        Layered { inner, layer: Observed(observer) }
    }
}

impl Observed {
    fn watch(&self, call: Call) -> Watch {
        Watch {
            observer: Arc::clone(&self.0),
            call,
            outcome: Outcome::Dropped,
            bytes: Arc::default(),
            all: None,
            begun: Instant::now(),
        }
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

impl Layer for Observed {
    fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        attempt: impl Fn() -> Answer<'a, T> + Send + Sync + 'a,
    ) -> Answer<'a, T> {
        Box::pin(async move {
            let mut watch = self.watch(call);
            watch.end_with(attempt().await)
        })
    }

    fn put<'a>(
        &'a self,
        source: Arc<dyn Source>,
        attempt: impl Fn(Arc<dyn Source>) -> Answer<'a, Locator> + Send + Sync + 'a,
    ) -> Answer<'a, Locator> {
        Box::pin(async move {
            let mut watch = self.watch(Call::Put);
            let source = watch.count(source);
            watch.end_with(attempt(source).await)
        })
    }

    fn get<'a>(&'a self, inner: &'a Arc<dyn Backend>, read: Read<'a>) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let mut watch = self.watch(Call::Get);
            let all = read.range.end.saturating_sub(read.range.start);
            let open = watch.end_with(read.at(&**inner).await)?;
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
}
