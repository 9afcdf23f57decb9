//! The byte stream under a connection, with the time limits that the HTTP library does not have.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;
use super::send_queue::SendQueue;

/// After closing our side, how long what the peer still sends is read and dropped. Closing with unread bytes makes
/// the kernel reset the connection, and the peer may lose an answer it has not read yet (RFC 9112 9.6).
const LINGER_TIME: Duration = Duration::from_secs(2);
/// How many bytes are read and dropped then.
const LINGER_BYTES: usize = 16 << 20;

/// A stream whose head must come in time, whose peer must read, whose end lingers.
#[derive(Debug)]
pub(super) struct Transport<S> {
    stream: S,
    /// What was read to tell the protocol, still to be handed out.
    first_bytes: Bytes,
    activity: Arc<Activity>,
    header_timeout: Duration,
    write_stall_timeout: Duration,
    /// The clock of the head that follows so many requests.
    head_due: Option<(u64, Timer)>,
    /// The clock of a write that waits, with the length of the kernel's queue when it was set.
    write_due: Option<(Option<usize>, Timer)>,
    /// Whether heads cannot be told from other bytes, and the peer may send some at any time.
    multiplexed: bool,
    /// The request for which the end of what the peer sends was held back.
    end_waited_for: Option<u64>,
    closing: Closing,
}

type Timer = Pin<Box<Sleep>>;

#[derive(Debug)]
enum Closing {
    Open,
    Lingering { due: Timer, bytes_left: usize },
    Closed,
}

impl<S> Transport<S> {
    pub(super) fn new(stream: S, first_bytes: Bytes, activity: Arc<Activity>, limits: &super::Limits) -> Self {
        Transport {
            stream,
            first_bytes,
            activity,
            header_timeout: limits.header_timeout,
            write_stall_timeout: limits.write_stall_timeout,
            head_due: None,
            write_due: None,
            multiplexed: false,
            end_waited_for: None,
            closing: Closing::Open,
        }
    }

    /// Demands the first request's head until then.
    pub(super) fn head_due(mut self, due: Instant) -> Self {
        self.head_due = Some((0, Box::pin(sleep_until(due))));
        self
    }

    /// Leaves heads to the watch of an h2 connection.
    pub(super) fn multiplexed(mut self) -> Self {
        self.multiplexed = true;
        self
    }

    /// The clock of a head runs from its first byte, so that waiting between requests does not count.
    fn watch_head(&mut self, cx: &mut Context<'_>, bytes_came: bool) -> io::Result<()> {
        let (false, Some(served)) = (self.multiplexed, self.activity.awaits_head()) else {
            self.head_due = None;
            return Ok(());
        };
        // A request may come and be answered between two reads: its clock must not run on for the next one.
        let mut running = self.head_due.take().filter(|(request, _)| *request == served);
        if running.is_none() && bytes_came {
            running = Some((served, Box::pin(sleep_until(Instant::now() + self.header_timeout))));
        }
        if running.as_mut().is_some_and(|(_, due)| due.as_mut().poll(cx).is_ready()) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the request's head did not come in time"));
        }
        self.head_due = running;
        Ok(())
    }

    /// An end that comes along with a request is told one turn later: the library drops a request at once whose peer has
    /// left, and a peer that has sent everything may leave. What its handler does then is the handler's to say.
    fn end_waits(&mut self, cx: &mut Context<'_>) -> bool {
        let request = self.activity.due_to_a_handler().filter(|_| !self.multiplexed);
        if request.is_none() || request == self.end_waited_for {
            return false;
        }
        self.end_waited_for = request;
        cx.waker().wake_by_ref();
        true
    }

    /// Whether the peer may be in the middle of sending: a body, a head that was refused half-way, h2 frames.
    fn more_may_come(&self) -> bool {
        let half_a_head =
            self.head_due.as_ref().is_some_and(|(request, _)| Some(*request) == self.activity.awaits_head());
        self.multiplexed || half_a_head || self.activity.body_expected()
    }
}

impl<S: SendQueue> Transport<S> {
    /// The clock of a write runs from when the kernel took nothing more, and stops when it takes a byte. The kernel
    /// asks for more only when a third of its queue, often a megabyte, is free: until then a shrinking queue shows that
    /// the peer reads, however slowly.
    fn watch_write(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = polled {
            self.write_due = None;
            self.activity.wrote(*written.as_ref().unwrap_or(&0));
            return Poll::Ready(written);
        }
        self.activity.write_waits();
        loop {
            let (queued, due) = self.write_due.get_or_insert_with(|| {
                (self.stream.bytes_queued(), Box::pin(sleep_until(Instant::now() + self.write_stall_timeout)))
            });
            ready!(due.as_mut().poll(cx));
            let queued_now = self.stream.bytes_queued();
            if queued_now.is_none() || queued_now >= *queued {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer stopped reading")));
            }
            self.write_due = None;
        }
    }
}

impl<S: AsyncRead + Unpin> Transport<S> {
    /// Reads and drops until the peer closes, goes silent or sends too much.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Closing::Lingering { due, bytes_left } = &mut self.closing else { return Poll::Ready(()) };
        let mut memory = [0_u8; 8 * 1024];
        while *bytes_left > 0 {
            let mut dropped = ReadBuf::new(&mut memory);
            match Pin::new(&mut self.stream).poll_read(cx, &mut dropped) {
                Poll::Ready(Ok(())) if !dropped.filled().is_empty() => {
                    *bytes_left = bytes_left.saturating_sub(dropped.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return due.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Transport<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first_bytes.has_remaining() {
            let length = self.first_bytes.remaining().min(buffer.remaining());
            buffer.put_slice(&self.first_bytes.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let bytes_came = buffer.filled().len() > before;
        self.watch_head(cx, bytes_came)?;
        let ended = matches!(polled, Poll::Ready(Ok(()))) && !bytes_came && buffer.remaining() > 0;
        if ended && self.end_waits(cx) { Poll::Pending } else { polled }
    }
}

impl<S: AsyncRead + AsyncWrite + SendQueue + Unpin> AsyncWrite for Transport<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch_write(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch_write(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.closing, Closing::Open) {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            // Where nothing can be on its way, an idle client that never looks at its socket would only hold us up.
            self.closing = if self.more_may_come() {
                let due = Box::pin(sleep_until(Instant::now() + LINGER_TIME));
                Closing::Lingering { due, bytes_left: LINGER_BYTES }
            } else {
                Closing::Closed
            };
        }
        ready!(self.poll_linger(cx));
        self.closing = Closing::Closed;
        Poll::Ready(Ok(()))
    }
}
