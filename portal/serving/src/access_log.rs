//! The parts of an access log: the choice of requests, the end of each answer, and an encoding for hostile text.

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::Method;
use http_body::{Frame, SizeHint};
use serde::{Deserialize, Serialize};

/// The requests that get a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// No requests.
    Off,
    /// Requests that may change something.
    #[default]
    Writes,
    /// All requests.
    All,
}

impl AccessLog {
    /// True if a request with this method gets a line.
    pub fn covers(self, method: &Method) -> bool {
        match self {
            AccessLog::Off => false,
            AccessLog::Writes => !method.is_safe(),
            AccessLog::All => true,
        }
    }
}

/// The part of an answer's body that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes passed to the connection.
    pub bytes: u64,
    /// True if the whole body was sent. Otherwise it failed, or the client left.
    pub complete: bool,
}

/// Wraps a body so that `tell` is called once, when the body has ended or is dropped.
pub fn on_end(body: Body, tell: impl FnOnce(Sent) + Send + 'static) -> Body {
    Body::new(Watched { body, sent: Sent { bytes: 0, complete: false }, tell: Some(Box::new(tell)) })
}

struct Watched {
    body: Body,
    sent: Sent,
    tell: Option<Box<dyn FnOnce(Sent) + Send>>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(http_body::Body::poll_frame(Pin::new(&mut self.body), cx));
        match &frame {
            Some(Ok(frame)) => self.sent.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => {}
            None => self.sent.complete = true,
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

impl Drop for Watched {
    fn drop(&mut self) {
        // A body that reports its end is not polled for it again.
        self.sent.complete |= http_body::Body::is_end_stream(&self.body);
        if let Some(tell) = self.tell.take() {
            tell(self.sent);
        }
    }
}

/// Text of a client, encoded for a line of the log. Printable ASCII is unchanged, every other byte becomes `\xNN`, and
/// the text is cut after `limit` bytes.
pub fn loggable(text: &[u8], limit: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(limit));
    for &byte in text.iter().take(limit) {
        match byte {
            b'\\' => shown.push_str("\\\\"),
            b' '..=b'~' => shown.push(char::from(byte)),
            _ => {
                let _ = write!(shown, "\\x{byte:02x}");
            }
        }
    }
    if text.len() > limit {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::StreamExt as _;
    use proptest::prelude::*;

    use super::*;

    fn watched(body: Body) -> (Body, Arc<Mutex<Vec<Sent>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        (on_end(body, move |sent| sink.lock().unwrap().push(sent)), told)
    }

    #[tokio::test]
    async fn the_end_is_told_once_with_the_bytes_that_were_sent() {
        let (body, told) = watched(Body::from("12345"));
        let mut data = body.into_data_stream();
        assert!(told.lock().unwrap().is_empty());
        while data.next().await.is_some() {}
        drop(data);
        assert_eq!(*told.lock().unwrap(), [Sent { bytes: 5, complete: true }]);
    }

    #[tokio::test]
    async fn a_body_that_nobody_reads_to_its_end_is_not_complete() {
        let parts = futures_util::stream::iter(["123", "45"].map(|part| Ok::<_, std::io::Error>(Bytes::from(part))));
        let (body, told) = watched(Body::from_stream(parts));
        let mut data = body.into_data_stream();
        data.next().await.unwrap().unwrap();
        drop(data);
        assert_eq!(*told.lock().unwrap(), [Sent { bytes: 3, complete: false }]);
        let (body, told) = watched(Body::empty());
        drop(body);
        assert_eq!(*told.lock().unwrap(), [Sent { bytes: 0, complete: true }]);
    }

    #[test]
    fn writes_are_all_but_safe_methods() {
        for (method, expected) in [
            (Method::GET, [false, false, true]),
            (Method::HEAD, [false, false, true]),
            (Method::PUT, [false, true, true]),
            (Method::DELETE, [false, true, true]),
            (Method::from_bytes(b"PURGE").unwrap(), [false, true, true]),
        ] {
            let covered = [AccessLog::Off, AccessLog::Writes, AccessLog::All].map(|log| log.covers(&method));
            assert_eq!(covered, expected, "{method}");
        }
    }

    proptest! {
        #[test]
        fn hostile_text_stays_on_its_line(text: Vec<u8>, limit in 0..40_usize) {
            let shown = loggable(&text, limit);
            prop_assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", shown);
            prop_assert!(shown.len() <= 4 * limit + 3);
        }
    }
}
