//! A source that remembers what was read of it, and fails or stalls where it is told to.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::{BytesSource, Content, Source, SourceError};

/// The effect on a read that goes beyond the offset.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    FailAt(u64),
    StallAt(u64),
}

/// Passes reads on and writes them down.
#[derive(Clone, Debug)]
pub struct Watched {
    inner: BytesSource,
    trouble: Option<Trouble>,
    reads: Arc<Mutex<Vec<Range<u64>>>>,
    stalled: Arc<Notify>,
}

impl Watched {
    /// Without trouble.
    pub fn new(inner: BytesSource) -> Self {
        Watched { inner, trouble: None, reads: Arc::default(), stalled: Arc::default() }
    }

    /// Reads that go beyond the offset fail.
    #[must_use]
    pub fn failing_at(self, offset: u64) -> Self {
        Watched { trouble: Some(Trouble::FailAt(offset)), ..self }
    }

    /// Reads that go beyond the offset never end.
    #[must_use]
    pub fn stalling_at(self, offset: u64) -> Self {
        Watched { trouble: Some(Trouble::StallAt(offset)), ..self }
    }

    /// Returns when a read stalls.
    pub async fn stalled(&self) {
        self.stalled.notified().await;
    }

    /// All reads so far that gave bytes.
    pub fn reads(&self) -> Vec<Range<u64>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many bytes were read, repetitions included.
    pub fn taken(&self) -> u64 {
        self.reads().iter().map(|range| range.end - range.start).sum()
    }
}

impl Source for Watched {
    fn content(&self) -> &Content {
        self.inner.content()
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        Box::pin(async move {
            match self.trouble {
                Some(Trouble::FailAt(offset)) if range.end > offset => {
                    return Err(io::Error::other("the disk of the source is broken").into());
                }
                Some(Trouble::StallAt(offset)) if range.end > offset => {
                    self.stalled.notify_one();
                    std::future::pending::<()>().await;
                }
                _ => {}
            }
            self.reads.lock().unwrap_or_else(PoisonError::into_inner).push(range.clone());
            self.inner.read(range).await
        })
    }
}
