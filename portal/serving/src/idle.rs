//! A body that fails when no data arrives for a while.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// A request body with a limit on the time between two frames. The clock runs only while a frame is awaited. A slow
/// reader on the server's side does not count, and a slow body that still moves is never cut.
#[derive(Debug)]
pub struct IdleTimeout<B> {
    body: B,
    limit: Duration,
    due: Pin<Box<Sleep>>,
    waiting: bool,
}

/// The reason why a body with a limit ended early.
#[derive(Debug)]
pub enum IdleTimeoutError<E> {
    /// No frame came for this long.
    Idle(Duration),
    /// The body failed by itself.
    Body(E),
}

impl<E> fmt::Display for IdleTimeoutError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdleTimeoutError::Idle(limit) => write!(f, "nothing of the body came for {limit:?}"),
            IdleTimeoutError::Body(_) => f.write_str("the body broke off"),
        }
    }
}

impl<E: Error + 'static> Error for IdleTimeoutError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            IdleTimeoutError::Idle(_) => None,
            IdleTimeoutError::Body(error) => Some(error),
        }
    }
}

impl<B> IdleTimeout<B> {
    /// Limits the time between two frames of `body`. Must be called within a tokio runtime.
    pub fn new(body: B, limit: Duration) -> Self {
        IdleTimeout { body, limit, due: Box::pin(sleep_until(Instant::now() + limit)), waiting: false }
    }
}

impl<B: Body + Unpin> Body for IdleTimeout<B> {
    type Data = B::Data;
    type Error = IdleTimeoutError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(IdleTimeoutError::Body)));
        }
        let limit = self.limit;
        if !self.waiting {
            self.waiting = true;
            self.due.as_mut().reset(Instant::now() + limit);
        }
        ready!(self.due.as_mut().poll(cx));
        Poll::Ready(Some(Err(IdleTimeoutError::Idle(limit))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
