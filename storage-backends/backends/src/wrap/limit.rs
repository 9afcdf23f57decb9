//! Limits the work at a backend: concurrent calls, and bytes per second in each direction.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::{
    Answer, Backend, BackendError, ByteStream, Capabilities, Content, Deletion, Health, Locator, Resume, Source,
    SourceError, Stat, UnitRoot,
};

/// The limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitConfig {
    /// Concurrent puts; 0 counts as 1, here and below.
    pub puts: usize,
    /// Concurrent reads, from the call to the end of the stream.
    pub gets: usize,
    /// Other concurrent calls.
    pub calls: usize,
    /// Bytes per second that puts take from their sources, all together.
    pub put_rate: Option<u64>,
    /// Bytes per second that come out of streams, all together.
    pub get_rate: Option<u64>,
}

impl Default for LimitConfig {
    /// About as much as a portal of the public network allows one address.
    fn default() -> Self {
        LimitConfig { puts: 4, gets: 32, calls: 16, put_rate: None, get_rate: None }
    }
}

/// Limits around another backend. Clones share them.
#[derive(Clone, Debug)]
pub struct Limit {
    inner: Arc<dyn Backend>,
    puts: Arc<Semaphore>,
    gets: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    put_pace: Arc<Pace>,
    get_pace: Arc<Pace>,
}

impl Limit {
    /// Wraps a backend.
    pub fn new(inner: Arc<dyn Backend>, config: LimitConfig) -> Self {
        let permits = |number: usize| Arc::new(Semaphore::new(number.clamp(1, Semaphore::MAX_PERMITS)));
        Limit {
            inner,
            puts: permits(config.puts),
            gets: permits(config.gets),
            calls: permits(config.calls),
            put_pace: Arc::new(Pace::new(config.put_rate)),
            get_pace: Arc::new(Pace::new(config.get_rate)),
        }
    }
}

impl Limit {
    fn paced(&self, inner: Arc<dyn Source>) -> Arc<dyn Source> {
        Arc::new(PacedSource { inner, pace: Arc::clone(&self.put_pace) })
    }
}

async fn enter(gate: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(gate).acquire_owned().await.expect("the semaphore is never closed")
}

/// A rate shared by many tasks: the bytes of each delay the next.
#[derive(Debug)]
struct Pace {
    bytes_per_second: Option<u64>,
    free_at: Mutex<Option<Instant>>,
}

impl Pace {
    fn new(bytes_per_second: Option<u64>) -> Self {
        Pace { bytes_per_second: bytes_per_second.map(|rate| rate.max(1)), free_at: Mutex::new(None) }
    }

    /// Waits until these bytes may pass.
    async fn wait(&self, bytes: u64) {
        let Some(rate) = self.bytes_per_second else { return };
        let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let turn = {
            let now = Instant::now();
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = free_at.map_or(now, |free_at| free_at.max(now));
            *free_at = Some(turn + takes);
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}

/// A source with a limited rate.
#[derive(Debug)]
struct PacedSource {
    inner: Arc<dyn Source>,
    pace: Arc<Pace>,
}

impl Source for PacedSource {
    fn content(&self) -> &Content {
        self.inner.content()
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        Box::pin(async move {
            self.pace.wait(range.end.saturating_sub(range.start)).await;
            self.inner.read(range).await
        })
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for Limit {
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
        Box::pin(async move {
            let _permit = enter(&self.calls).await;
            self.inner.check().await
        })
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let _permit = enter(&self.calls).await;
            self.inner.ping().await
        })
    }

    fn locate(&self, source: Arc<dyn Source>) -> Answer<'_, Option<Locator>> {
        Box::pin(async move {
            let _permit = enter(&self.calls).await;
            self.inner.locate(source).await
        })
    }

    fn put<'a>(&'a self, source: Arc<dyn Source>, resume: &'a dyn Resume) -> Answer<'a, Locator> {
        Box::pin(async move {
            let _permit = enter(&self.puts).await;
            self.inner.put(self.paced(source), resume).await
        })
    }

    fn put_again<'a>(&'a self, source: Arc<dyn Source>, resume: &'a dyn Resume) -> Answer<'a, Locator> {
        Box::pin(async move {
            let _permit = enter(&self.puts).await;
            self.inner.put_again(self.paced(source), resume).await
        })
    }

    fn get<'a>(&'a self, content: &'a Content, locator: &'a Locator, range: Range<u64>) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let permit = enter(&self.gets).await;
            let open = self.inner.get(content, locator, range).await?;
            let state = (open, Arc::clone(&self.get_pace), permit);
            let paced = stream::unfold(state, |(mut open, pace, permit)| async move {
                let item: Result<Bytes, BackendError> = open.next().await?;
                if let Ok(bytes) = &item {
                    pace.wait(bytes.len() as u64).await;
                }
                Some((item, (open, pace, permit)))
            });
            Ok(paced.boxed())
        })
    }

    fn unit_roots<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Option<Arc<[UnitRoot]>>> {
        Box::pin(async move {
            let _permit = enter(&self.gets).await;
            self.inner.unit_roots(content, locator).await
        })
    }

    fn stat<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Stat> {
        Box::pin(async move {
            let _permit = enter(&self.calls).await;
            self.inner.stat(content, locator).await
        })
    }

    fn delete<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Deletion> {
        Box::pin(async move {
            let _permit = enter(&self.calls).await;
            self.inner.delete(content, locator).await
        })
    }

    fn delete_at<'a>(&'a self, endpoint: &'a str, content: &'a Content, locator: &'a Locator) -> Answer<'a, Deletion> {
        Box::pin(async move {
            let _permit = enter(&self.calls).await;
            self.inner.delete_at(endpoint, content, locator).await
        })
    }

    fn health(&self) -> Health {
        self.inner.health()
    }
}
