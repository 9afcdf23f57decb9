//! The content of a skyfile as a stream, read a little ahead of its consumer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream};
use tokio::task::spawn_blocking;

use super::arrivals::Arrivals;
use super::source::{OpenChunk, Source};

/// Bytes read at a time; the same number is read ahead.
const STEP: usize = 128 * 1024;

/// Part of a skyfile's content. A thread is used only during a read: a slow client occupies none, and a client that
/// leaves causes no further read. The field is the next step, or `None` after the end or an error.
pub(crate) struct SkyfileStream(Option<Step>);

/// Some bytes, and the unread rest after them.
type Step = BoxFuture<'static, io::Result<(Bytes, Cursor)>>;

/// The unread rest.
struct Cursor {
    source: Arc<Source>,
    position: u64,
    end: u64,
    chunk: OpenChunk,
    /// The sectors that must be fetched before they are read.
    arrivals: Option<Arrivals>,
}

impl SkyfileStream {
    pub(super) fn new(source: Arc<Source>, first: u64, length: u64) -> Self {
        let end = first.saturating_add(length);
        let arrivals = Arrivals::of(&source, first..end);
        let cursor = Cursor { source, position: first, end, chunk: OpenChunk::default(), arrivals };
        // Nothing is read before the first poll.
        SkyfileStream((length > 0).then(|| cursor.read_once_here().boxed()))
    }
}

impl Cursor {
    /// Begins to read the next bytes before they are polled, unless they must be fetched first.
    fn read_ahead(self) -> Option<Step> {
        let is_here = self.arrivals.as_ref().is_none_or(|arrivals| arrivals.has_reached(self.position + 1));
        let is_unfinished = self.position < self.end;
        is_unfinished.then(|| if is_here { self.read().boxed() } else { self.read_once_here().boxed() })
    }

    async fn read_once_here(mut self) -> io::Result<(Bytes, Self)> {
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.reach(self.position + 1).await.map_err(io::Error::other)?;
        }
        self.read().await
    }

    /// Starts a read on a thread now, even before it is polled.
    fn read(mut self) -> impl Future<Output = io::Result<(Bytes, Self)>> + Send {
        let reading = spawn_blocking(move || {
            if self.end > self.source.size() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let limit = (self.end - self.position).min(STEP as u64) as usize;
            let bytes = self.source.read(&mut self.chunk, self.position, limit)?;
            self.position += bytes.len() as u64;
            Ok((bytes, self))
        });
        reading.map(|read| read?)
    }
}

impl Stream for SkyfileStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(step) = &mut self.0 else { return Poll::Ready(None) };
        let read = ready!(step.poll_unpin(cx));
        self.0 = None;
        Poll::Ready(Some(read.map(|(bytes, cursor)| {
            self.0 = cursor.read_ahead();
            bytes
        })))
    }
}
