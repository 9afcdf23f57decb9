//! The body of a request, as a stream that ends in time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::CONNECTION;
use http::{HeaderValue, Response, Version};
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;

use crate::idle::{IdleTimeout, IdleTimeoutError};
use crate::pace::Watch;
use crate::pool::Pool;

/// The reason why a request's body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// No bytes arrived for the idle limit.
    #[error("nothing of the body came for a while")]
    Idle,
    /// It came below the least rate, while others waited for what it holds.
    #[error("the body came too slowly while others waited")]
    Slow,
    /// The connection broke, or the framing of the body is wrong.
    #[error("the body broke off")]
    Broken,
}

/// Bytes of an unwanted body that are still read, so that the client sees the answer instead of a broken pipe.
const MAX_DRAIN: usize = 1024 * 1024;
/// The time that this may take.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// A request's body. It ends with [`BodyError::Idle`] when no bytes arrive for the idle limit. The whole body may take
/// any time. When it is dropped before its end, bytes that the client still sends are read for a while, so that the
/// client sees the answer.
#[derive(Debug)]
pub struct RequestBody {
    /// `None` after it was taken.
    body: Option<IdleTimeout<Body>>,
    received: Counter,
    progress: Arc<Progress>,
    drains: bool,
    watch: Option<Watch>,
}

/// What was read of a body, by whichever owner.
#[derive(Debug, Default)]
struct Progress {
    bytes: AtomicU64,
    ended: AtomicBool,
}

impl RequestBody {
    /// Wraps `body` with an idle limit. `received` counts its bytes. With `expects_continue`, the client asked whether
    /// to send, so it has nothing in flight that needs to be read.
    pub fn new(body: Body, idle: Duration, received: Counter, expects_continue: bool) -> Self {
        let progress = Arc::<Progress>::default();
        progress.ended.store(http_body::Body::is_end_stream(&body), Ordering::Relaxed);
        RequestBody {
            body: Some(IdleTimeout::new(body, idle)),
            received,
            progress,
            drains: !expects_continue,
            watch: None,
        }
    }

    /// Takes the body out, for a task that outlives the request. It still breaks off if the connection ends early. The
    /// body left behind has no bytes, and knows how far the other one is.
    #[must_use]
    pub fn take(&mut self) -> RequestBody {
        let (received, progress) = (self.received.clone(), Arc::clone(&self.progress));
        RequestBody { body: self.body.take(), received, progress, drains: self.drains, watch: self.watch.take() }
    }

    /// From here on, the body ends with [`BodyError::Slow`] if it comes below the least rate while this pool is short.
    /// To be called before the first byte is read.
    pub fn hold_to_rate(&mut self, pool: &Arc<Pool>) {
        self.watch = Some(Watch::new(Arc::clone(pool)));
    }

    /// The number of bytes read so far.
    pub fn received(&self) -> u64 {
        self.progress.bytes.load(Ordering::Relaxed)
    }

    /// True if all of it has been read.
    pub fn is_ended(&self) -> bool {
        self.progress.ended.load(Ordering::Relaxed)
    }

    /// Ends the use of the body. The rest of one that was not read to its end would be taken for the next request, so
    /// the connection closes.
    pub fn leave(self, version: Version, response: &mut Response<Body>) {
        if !self.is_ended() && version <= Version::HTTP_11 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
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

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.is_ended() || !self.drains {
            return;
        }
        if let (Some(body), Ok(runtime)) = (self.body.take(), Handle::try_current()) {
            // With a progress of its own: the request has not read what is drained.
            let (received, progress) = (self.received.clone(), Arc::default());
            runtime.spawn(RequestBody { body: Some(body), received, progress, drains: false, watch: None }.drain());
        }
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(body) = this.body.as_mut().filter(|_| !this.progress.ended.load(Ordering::Relaxed)) else {
            return Poll::Ready(None);
        };
        loop {
            let Poll::Ready(frame) = http_body::Body::poll_frame(Pin::new(&mut *body), cx) else {
                let Some(watch) = &mut this.watch else { return Poll::Pending };
                ready!(watch.poll_too_slow(cx));
                this.progress.ended.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err(BodyError::Slow)));
            };
            let ended = http_body::Body::is_end_stream(body) || !matches!(frame, Some(Ok(_)));
            this.progress.ended.store(ended, Ordering::Relaxed);
            return Poll::Ready(match frame {
                // Trailers have nothing that is used.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        this.received.inc_by(data.len() as u64);
                        if let Some(watch) = &mut this.watch {
                            watch.moved(data.len() as u64);
                        }
                        this.progress.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
                        Some(Ok(data))
                    }
                    Err(_) if ended => None,
                    Err(_) => continue,
                },
                Some(Err(IdleTimeoutError::Idle(_))) => Some(Err(BodyError::Idle)),
                Some(Err(IdleTimeoutError::Body(_))) => Some(Err(BodyError::Broken)),
                None => None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::pool::Holder;

    fn body(frames: impl IntoIterator<Item = &'static str>, expects_continue: bool) -> (RequestBody, Counter) {
        let frames: Vec<_> = frames.into_iter().map(|frame| Ok::<_, std::io::Error>(Bytes::from(frame))).collect();
        let received = Counter::default();
        let body = Body::from_stream(stream::iter(frames));
        (RequestBody::new(body, Duration::from_secs(9), received.clone(), expects_continue), received)
    }

    fn closes(body: RequestBody) -> bool {
        let mut response = Response::new(Body::empty());
        body.leave(Version::HTTP_11, &mut response);
        response.headers().contains_key(CONNECTION)
    }

    #[tokio::test]
    async fn a_request_knows_how_far_another_task_has_read_its_body() {
        let (mut body, _) = body(["abc", "de"], false);
        let mut taken = RequestBody::take(&mut body);
        assert_eq!(taken.next().await, Some(Ok(Bytes::from("abc"))));
        assert_eq!((body.received(), body.is_ended()), (3, false));
        assert_eq!(body.next().await, None, "the bytes are the other one's");
        assert!(!body.is_ended());
        assert_eq!(taken.next().await, Some(Ok(Bytes::from("de"))));
        assert_eq!(taken.next().await, None);
        assert_eq!((body.received(), body.is_ended()), (5, true));
        drop(taken);
        assert!(!closes(body));
    }

    #[tokio::test]
    async fn what_a_task_did_not_read_is_drained_and_the_connection_closes() {
        let (mut body, received) = body(["abc", "de"], false);
        let mut taken = RequestBody::take(&mut body);
        taken.next().await.unwrap().unwrap();
        drop(taken);
        while received.get() < 5 {
            tokio::task::yield_now().await;
        }
        assert_eq!(body.received(), 3, "what is drained was not read by the request");
        assert!(closes(body));
    }

    /// A byte a minute kept a transfer for ever.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_ends_while_others_want_its_permit() {
        let trickle = || {
            stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_secs(50)).await;
                Some((Ok::<_, std::io::Error>(Bytes::from("x")), ()))
            })
        };
        let pool = Pool::new("transfers", 4, Duration::ZERO);
        let held: Vec<_> = (0..4).map(|_| pool.try_take(Holder::SHARED).unwrap()).collect();
        let body = || {
            let body = Body::from_stream(Box::pin(trickle()));
            let mut body = RequestBody::new(body, Duration::from_mins(1), Counter::default(), true);
            body.hold_to_rate(&pool);
            body
        };
        let end = async |mut body: RequestBody| loop {
            match body.next().await {
                Some(Ok(_)) => {}
                end => break end,
            }
        };
        let an_hour = Duration::from_hours(1);
        let began = tokio::time::Instant::now();
        assert_eq!(tokio::time::timeout(an_hour, end(body())).await, Ok(Some(Err(BodyError::Slow))));
        assert!((5..=6).contains(&(began.elapsed().as_secs() / 60)), "{:?}", began.elapsed());
        drop(held);
        assert!(tokio::time::timeout(an_hour, end(body())).await.is_err(), "nobody else wants it");
    }

    /// Time in which the server did not read counted against the client.
    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_server_does_not_read_is_not_the_clients() {
        let pool = Pool::new("transfers", 1, Duration::ZERO);
        let _held = pool.try_take(Holder::SHARED).unwrap();
        let (mut body, _) = body(["a"; 20], true);
        body.hold_to_rate(&pool);
        while let Some(frame) = body.next().await {
            frame.unwrap();
            tokio::time::sleep(Duration::from_mins(2)).await;
        }
    }

    #[tokio::test]
    async fn a_client_that_asked_whether_to_send_is_not_waited_for() {
        let (body, received) = body(["abc"], true);
        assert!(closes(body));
        tokio::task::yield_now().await;
        assert_eq!(received.get(), 0);
    }
}
