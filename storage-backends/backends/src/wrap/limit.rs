//! Limits the work at a backend: concurrent calls, and bytes per second in each direction.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::layer::{Call, Layer, Layered, Read};
use crate::{Answer, Backend, BackendError, ByteStream, Content, Locator, Source, SourceError};

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
pub type Limit = Layered<Limits>;

/// The layer of a [`Limit`].
#[derive(Clone, Debug)]
pub struct Limits {
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
        let layer = Limits {
            puts: permits(config.puts),
            gets: permits(config.gets),
            calls: permits(config.calls),
            put_pace: Arc::new(Pace::new(config.put_rate)),
            get_pace: Arc::new(Pace::new(config.get_rate)),
        };
        Layered { inner, layer }
    }
}

impl Limits {
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

impl Layer for Limits {
    fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        attempt: impl Fn() -> Answer<'a, T> + Send + Sync + 'a,
    ) -> Answer<'a, T> {
        let gate = if call == Call::UnitProof { &self.gets } else { &self.calls };
        Box::pin(async move {
            let _permit = enter(gate).await;
            attempt().await
        })
    }

    fn put<'a>(
        &'a self,
        source: Arc<dyn Source>,
        attempt: impl Fn(Arc<dyn Source>) -> Answer<'a, Locator> + Send + Sync + 'a,
    ) -> Answer<'a, Locator> {
        Box::pin(async move {
            let _permit = enter(&self.puts).await;
            attempt(self.paced(source)).await
        })
    }

    fn get<'a>(&'a self, inner: &'a Arc<dyn Backend>, read: Read<'a>) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let permit = enter(&self.gets).await;
            let open = read.at(&**inner).await?;
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
}
