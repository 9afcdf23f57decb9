//! The body of a request, as a stream that ends in time.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::CONNECTION;
use http::{HeaderValue, Response, Version};
use prometheus_client::metrics::counter::Counter;

use crate::idle::{IdleTimeout, IdleTimeoutError};

/// The reason why a request's body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// No bytes arrived for the idle limit.
    #[error("nothing of the body came for a while")]
    Idle,
    /// The connection broke, or the framing of the body is wrong.
    #[error("the body broke off")]
    Broken,
}

/// Bytes of an unwanted body that are still read, so that the client sees the answer instead of a broken pipe.
const MAX_DRAIN: usize = 1024 * 1024;
/// The time that this may take.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// A request's body. It ends with [`BodyError::Idle`] when no bytes arrive for the idle limit. The whole body may take
/// any time.
#[derive(Debug)]
pub struct RequestBody {
    body: IdleTimeout<Body>,
    received: Counter,
    bytes: u64,
    ended: bool,
}

impl RequestBody {
    /// Wraps `body` with an idle limit. `received` counts its bytes.
    pub fn new(body: Body, idle: Duration, received: Counter) -> Self {
        let ended = http_body::Body::is_end_stream(&body);
        RequestBody { body: IdleTimeout::new(body, idle), received, bytes: 0, ended }
    }

    /// Takes the body out, for a task that outlives the request. It still breaks off if the connection ends early. The
    /// remaining body is empty.
    #[must_use]
    pub fn take(&mut self) -> RequestBody {
        let empty = RequestBody::new(Body::empty(), Duration::ZERO, self.received.clone());
        std::mem::replace(self, empty)
    }

    /// The number of bytes read so far.
    pub fn received(&self) -> u64 {
        self.bytes
    }

    /// True if all of it has been read.
    pub fn is_ended(&self) -> bool {
        self.ended || http_body::Body::is_end_stream(&self.body)
    }

    /// Ends the use of a body that was not read to its end. Its rest would be taken for the next request, so the
    /// connection closes. Bytes that the client still sends are read for a while, so that it sees the answer. With
    /// `expects_continue`, the client asked whether to send and has sent nothing yet.
    pub fn leave(self, expects_continue: bool, version: Version, response: &mut Response<Body>) {
        if self.is_ended() {
            return;
        }
        if version <= Version::HTTP_11 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if !expects_continue {
            tokio::spawn(self.drain());
        }
    }

    /// Reads and drops a limited part of the remaining body.
    async fn drain(mut self) {
        let mut left = MAX_DRAIN;
        let all = async {
            while let Some(Ok(data)) = self.next().await {
                left = left.saturating_sub(data.len());
                if left == 0 {
                    break;
                }
            }
        };
        // A timeout here does not matter, because the connection closes anyway.
        let _ = tokio::time::timeout(DRAIN_TIME, all).await;
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            let last = match ready!(http_body::Body::poll_frame(Pin::new(&mut self.body), cx)) {
                // Trailers have nothing that is used.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.received.inc_by(data.len() as u64);
                        self.bytes += data.len() as u64;
                        return Poll::Ready(Some(Ok(data)));
                    }
                    Err(_) => continue,
                },
                Some(Err(IdleTimeoutError::Idle(_))) => Some(Err(BodyError::Idle)),
                Some(Err(IdleTimeoutError::Body(_))) => Some(Err(BodyError::Broken)),
                None => None,
            };
            self.ended = true;
            return Poll::Ready(last);
        }
    }
}
