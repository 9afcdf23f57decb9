//! The content of a skyfile as a stream, read a little ahead of whoever takes it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use tokio::task::{JoinHandle, spawn_blocking};

use super::reader::{OpenChunk, Source};

/// Bytes read at a time; as many are read ahead.
const STEP: usize = 128 * 1024;

/// Part of a skyfile's content. A thread is used only while something is read: a slow client holds none, and one that
/// leaves causes no further read.
#[derive(Debug)]
pub(crate) struct SkyfileStream {
    source: Arc<Source>,
    position: u64,
    end: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing was asked for yet.
    Idle(OpenChunk),
    Reading(JoinHandle<io::Result<(Bytes, OpenChunk)>>),
    /// It ended, well or not.
    Done,
}

impl SkyfileStream {
    pub(super) fn new(source: Arc<Source>, first: u64, length: u64) -> Self {
        SkyfileStream {
            source,
            position: first,
            end: first.saturating_add(length),
            state: State::Idle(OpenChunk::default()),
        }
    }

    /// Begins to read what comes next.
    fn read_on(&mut self, mut chunk: OpenChunk) {
        if self.position >= self.end {
            self.state = State::Done;
            return;
        }
        let (source, position, end) = (Arc::clone(&self.source), self.position, self.end);
        self.state = State::Reading(spawn_blocking(move || {
            if end > source.size() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let limit = (end - position).min(STEP as u64) as usize;
            let bytes = source.read(&mut chunk, position, limit)?;
            Ok((bytes, chunk))
        }));
    }
}

impl Stream for SkyfileStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let State::Idle(chunk) = &mut self.state {
            let chunk = std::mem::take(chunk);
            self.read_on(chunk);
        }
        let State::Reading(reading) = &mut self.state else { return Poll::Ready(None) };
        let read = ready!(Pin::new(reading).poll(cx)).unwrap_or_else(|error| Err(error.into()));
        match read {
            Ok((bytes, chunk)) => {
                self.position += bytes.len() as u64;
                self.read_on(chunk);
                Poll::Ready(Some(Ok(bytes)))
            }
            Err(error) => {
                self.state = State::Done;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}
