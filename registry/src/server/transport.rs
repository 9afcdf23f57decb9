//! The byte stream of a connection, with time limits that the HTTP library lacks.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use serving::after_standstill;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;
use super::line_ends::LineEnds;
use super::send_queue::SendQueue;

/// How long the peer's bytes are read and dropped after our side has closed. Closing with unread bytes makes the kernel
/// reset the connection, and the peer may lose an answer that it has not read yet (RFC 9112 9.6).
const LINGER_TIME: Duration = Duration::from_secs(2);
/// Most bytes that are read and dropped then.
const LINGER_BYTES: usize = 16 << 20;

/// A stream with a deadline for heads, a limit for stalled writes, and a lingering close.
#[derive(Debug)]
pub(super) struct Transport<S> {
    stream: S,
    /// Bytes not passed on yet: those read to detect the protocol, and those behind a head, which may be another one.
    kept: Bytes,
    activity: Arc<Activity>,
    header_timeout: Duration,
    write_stall_timeout: Duration,
    /// The current head, or the last one.
    line_ends: LineEnds,
    /// Timer of a head, with the number of requests before it.
    head_due: Option<(u64, Timer)>,
    /// Timer of a stalled write, with the length of the kernel's queue when the timer started.
    write_due: Option<(Option<usize>, Timer)>,
    /// True for h2: heads look like other bytes, and the peer may send at any time.
    multiplexed: bool,
    /// The request for which the end of the peer's bytes was delayed.
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
            kept: first_bytes,
            activity,
            header_timeout: limits.header_timeout,
            write_stall_timeout: limits.write_stall_timeout,
            line_ends: LineEnds::of(0),
            head_due: None,
            write_due: None,
            multiplexed: false,
            end_waited_for: None,
            closing: Closing::Open,
        }
    }

    /// Sets the deadline of the first request's head.
    pub(super) fn head_due(mut self, due: Instant) -> Self {
        self.head_due = Some((0, Box::pin(sleep_until(due))));
        self
    }

    /// Marks the stream as h2, whose heads are timed by the connection's watch.
    pub(super) fn multiplexed(mut self) -> Self {
        self.multiplexed = true;
        self
    }

    /// Fails if a head is late. Its timer starts with its first byte, so that waiting between requests does not count.
    fn watch_head(&mut self, cx: &mut Context<'_>, bytes_came: bool) -> io::Result<()> {
        let (false, Some(served)) = (self.multiplexed, self.activity.awaits_head()) else {
            self.head_due = None;
            return Ok(());
        };
        // A request may arrive and be answered between two reads. Its timer must not continue for the next one.
        let mut running = self.head_due.take().filter(|(request, _)| *request == served);
        if running.is_none() && bytes_came {
            running = Some((served, Box::pin(sleep_until(Instant::now() + self.header_timeout))));
        }
        while let Some((_, due)) = &mut running
            && due.as_mut().poll(cx).is_ready()
        {
            let Some(later) = after_standstill(due.deadline()) else {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the request's head did not come in time"));
            };
            due.as_mut().reset(later);
        }
        self.head_due = running;
        Ok(())
    }

    /// Searches the bytes of a head for bare LFs, and keeps the bytes behind it. They are a body, or another head that
    /// is checked when this one was answered.
    fn check_head(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let (false, Some(served)) = (self.multiplexed, self.activity.awaits_head()) else { return };
        if self.line_ends.request() != served {
            self.line_ends = LineEnds::of(served);
        }
        if self.line_ends.ended() {
            return;
        }
        let (read, bare_lf) = self.line_ends.read(&buffer.filled()[before..]);
        if bare_lf {
            self.activity.found_bare_lf();
        }
        if self.line_ends.ended() {
            self.activity.checked_head(served);
            let behind = &buffer.filled()[before + read..];
            if !behind.is_empty() {
                self.kept = [behind, &self.kept].concat().into();
                buffer.set_filled(before + read);
            }
        }
    }

    /// True if the end of the peer's bytes must wait for one turn, since it came along with a request. The HTTP library
    /// drops a request at once if its peer has left. But a peer that has sent everything may leave, and its handler
    /// decides what to do.
    fn end_waits(&mut self, cx: &mut Context<'_>) -> bool {
        let request = self.activity.due_to_a_handler().filter(|_| !self.multiplexed);
        if request.is_none() || request == self.end_waited_for {
            return false;
        }
        self.end_waited_for = request;
        cx.waker().wake_by_ref();
        true
    }

    /// True if the peer may be in the middle of sending: a body, a head that was refused half-way, or h2 frames.
    fn more_may_come(&self) -> bool {
        let half_a_head =
            self.head_due.as_ref().is_some_and(|(request, _)| Some(*request) == self.activity.awaits_head());
        self.multiplexed || half_a_head || self.activity.body_expected()
    }
}

impl<S: SendQueue> Transport<S> {
    /// Fails if a write stalls. Its timer starts when the kernel accepts no more, and stops at the next byte accepted.
    /// The kernel asks for more only when a third of its queue, often a megabyte, is free. Until then a shrinking queue
    /// shows that the peer reads, however slowly.
    fn watch_write(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = polled {
            self.write_due = None;
            self.activity.wrote(*written.as_ref().unwrap_or(&0));
            return Poll::Ready(written);
        }
        self.activity.write_waits(self.stream.bytes_queued());
        loop {
            let (queued, due) = self.write_due.get_or_insert_with(|| {
                (self.stream.bytes_queued(), Box::pin(sleep_until(Instant::now() + self.write_stall_timeout)))
            });
            ready!(due.as_mut().poll(cx));
            if let Some(later) = after_standstill(due.deadline()) {
                due.as_mut().reset(later);
                continue;
            }
            let queued_now = self.stream.bytes_queued();
            if queued_now.is_none() || queued_now >= *queued {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer stopped reading")));
            }
            self.write_due = None;
        }
    }

    /// Watches a flush, or the end of the stream, as a write. Over TLS both may wait for the kernel.
    fn watch_flush(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if polled.is_ready() && self.write_due.is_none() {
            return polled;
        }
        self.watch_write(cx, polled.map_ok(|()| 0)).map_ok(|_| ())
    }
}

impl<S: AsyncRead + Unpin> Transport<S> {
    /// Reads and drops until the peer closes, the time is over, or the bytes are too many.
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
        let before = buffer.filled().len();
        let head_waits = !self.multiplexed && self.activity.head_waits(cx);
        if self.kept.has_remaining() {
            if head_waits {
                return Poll::Pending;
            }
            let length = self.kept.remaining().min(buffer.remaining());
            buffer.put_slice(&self.kept.split_to(length));
            self.check_head(buffer, before);
            self.watch_head(cx, true)?;
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let bytes_came = buffer.filled().len() > before;
        self.activity.read(buffer.filled().len() - before);
        if head_waits && bytes_came {
            self.kept = Bytes::copy_from_slice(&buffer.filled()[before..]);
            buffer.set_filled(before);
            return Poll::Pending;
        }
        self.check_head(buffer, before);
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
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch_flush(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.closing, Closing::Open) {
            let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.watch_flush(cx, polled))?;
            // If no bytes can be on their way, close now: an idle client that never reads its socket would only delay
            // us.
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
