//! Bodies: a request's body as a stream for the service, and a file as a response body.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use http_body::{Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use serving::{BodyError, Multipart, Piece, RequestBody};
use tokio::task::JoinHandle;

use super::file_read::{read_cached, read_exactly};
use crate::service::{ByteChunks, Error};

/// Bytes read from a file at once. A download has two such buffers: one is sent while the other is filled. They are
/// small enough that a thousand downloads fit in memory, and that the processor's cache keeps a buffer until it is
/// sent.
const READ_SIZE: u64 = 128 * 1024;

/// The request body as a stream for the service.
pub(crate) fn chunks(body: &mut RequestBody) -> impl ByteChunks {
    body.map_err(fault)
}

/// The request body as an owned stream, for work that may outlive the request.
#[derive(Debug)]
pub(crate) struct OwnChunks(RequestBody);

impl OwnChunks {
    /// Takes the body out of the request.
    pub(crate) fn take(body: &mut RequestBody) -> Self {
        OwnChunks(body.take())
    }
}

impl Stream for OwnChunks {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx).map_err(fault)
    }
}

fn fault(error: BodyError) -> Error {
    match error {
        BodyError::Idle => Error::BodyIdle,
        BodyError::Slow => Error::BodySlow,
        BodyError::Broken => Error::BodyBroken,
    }
}

/// A response body that counts its bytes as they are sent.
#[derive(Debug)]
pub(crate) struct Counted {
    body: Body,
    sent: Counter,
}

impl Counted {
    pub(crate) fn new(body: Body, sent: Counter) -> Self {
        Counted { body, sent }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(http_body::Body::poll_frame(Pin::new(&mut self.body), cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.sent.inc_by(data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}

/// A response body of one or several ranges of an open file. For several, it includes the texts of the multipart
/// format.
#[derive(Debug)]
pub(crate) struct FileBody {
    file: Arc<File>,
    /// The rest of the range being sent.
    range: Range<u64>,
    /// The parts that follow it.
    rest: Option<Multipart>,
    remaining: u64,
    /// Two buffers in alternation. The bytes of one may still be sent while the other is filled.
    buffers: [BytesMut; 2],
    /// A read waiting for the disk.
    reading: Option<JoinHandle<io::Result<BytesMut>>>,
}

impl FileBody {
    /// A body of the bytes at these offsets.
    pub(crate) fn range(file: File, bytes: Range<u64>) -> Self {
        let remaining = bytes.end - bytes.start;
        FileBody {
            file: Arc::new(file),
            range: bytes,
            rest: None,
            remaining,
            buffers: Default::default(),
            reading: None,
        }
    }

    /// A multipart body of this total length.
    pub(crate) fn multipart(file: File, parts: Multipart, length: u64) -> Self {
        FileBody { rest: Some(parts), remaining: length, ..FileBody::range(file, 0..0) }
    }

    /// The next text of the multipart format, unless a range comes first.
    fn next_text(&mut self) -> Option<Bytes> {
        if !self.range.is_empty() {
            return None;
        }
        match self.rest.as_mut()?.next()? {
            Piece::Text(text) => return Some(text),
            Piece::Range(range) => self.range = range.offsets(),
        }
        None
    }

    /// Reads the next bytes of the current range: at once if they are in the page cache, else on a thread.
    fn read_next(&mut self) -> io::Result<Option<BytesMut>> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let (offset, length) = (self.range.start, READ_SIZE.min(self.range.end - self.range.start));
        self.buffers.swap(0, 1);
        let mut buffer = std::mem::take(&mut self.buffers[0]);
        if let Some(read) = read_cached(&self.file, &mut buffer, length as usize, offset)? {
            self.range.start += read as u64;
            return Ok(Some(buffer));
        }
        self.range.start += length;
        let file = Arc::clone(&self.file);
        self.reading = Some(tokio::task::spawn_blocking(move || {
            read_exactly(&file, &mut buffer, length as usize, offset)?;
            Ok(buffer)
        }));
        Ok(None)
    }

    /// Sends the buffer's bytes. The buffer is reused once they are sent.
    fn send(&mut self, mut buffer: BytesMut) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let bytes = buffer.split().freeze();
        self.buffers[0] = buffer;
        self.remaining -= bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    /// A failed read cuts the connection, so that the client cannot take a partial body for the whole.
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.reading.is_none() {
            if let Some(text) = self.next_text() {
                self.remaining -= text.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(text))));
            }
            if let Some(buffer) = self.read_next()? {
                return self.send(buffer);
            }
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let result = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let buffer = result.unwrap_or_else(|panic| Err(io::Error::other(panic)))?;
        self.send(buffer)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
