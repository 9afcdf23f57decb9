//! A body that fails when no data arrives for a while.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::after_standstill;

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
        loop {
            ready!(self.due.as_mut().poll(cx));
            match after_standstill(self.due.deadline()) {
                Some(later) => self.due.as_mut().reset(later),
                None => return Poll::Ready(Some(Err(IdleTimeoutError::Idle(limit)))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use axum::body::Body as AxumBody;
    use bytes::Bytes;
    use futures_util::StreamExt as _;
    use tokio::sync::mpsc;

    use super::*;

    /// After SIGCONT timers fire before anything is read: uploads that had moved all along were cut.
    #[tokio::test]
    async fn a_body_that_came_while_the_process_stood_still_is_read() {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
        let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx)).map(Ok::<_, std::io::Error>);
        let mut body = IdleTimeout::new(AxumBody::from_stream(frames), Duration::from_millis(50));
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            std::thread::sleep(Duration::from_millis(1500));
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            sender.send(Bytes::from_static(b"more")).await.unwrap();
            std::future::pending::<()>().await;
        });
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "more");
        let silent = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        assert!(matches!(silent, Some(Err(IdleTimeoutError::Idle(_)))), "a silent peer is waited for");
    }
}
