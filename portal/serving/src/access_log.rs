//! The parts of an access log: the choice of requests, the end of each answer, and an encoding for hostile text.

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Response};
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

/// The answer to a request with this method, which calls `tell` once when its body has ended or is dropped.
pub fn on_end(response: Response<Body>, method: &Method, tell: impl FnOnce(Sent) + Send + 'static) -> Response<Body> {
    let stated = || response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    // The connection takes nothing of a body that answers HEAD.
    let length = if *method == Method::HEAD { Some(0) } else { stated() };
    let sent = Sent { bytes: 0, complete: false };
    response.map(|body| Body::new(Watched { body, length, sent, tell: Some(Box::new(tell)) }))
}

struct Watched {
    body: Body,
    /// Bytes of the whole body, where that is known and nothing has failed.
    length: Option<u64>,
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
            Some(Err(_)) => self.length = None,
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
        // A body that says that it has ended, or has given as much as its length, is not asked for its end again.
        let has_all = self.length == Some(self.sent.bytes);
        self.sent.complete |= has_all || http_body::Body::is_end_stream(&self.body);
        if let Some(tell) = self.tell.take() {
            tell(self.sent);
        }
    }
}

/// The status by which a request is counted that ended before its answer; nginx has the same. No client sees it.
pub const CLIENT_LEFT: u16 = 499;

/// A request whose answer is being made, with its line for the log. If this is dropped before the answer is there,
/// because the client left or a stop cut the request, `abandoned` is called.
#[derive(Debug)]
pub struct Pending<L, F: FnOnce(Option<L>)> {
    line: Option<L>,
    abandoned: Option<F>,
}

impl<L, F: FnOnce(Option<L>)> Pending<L, F> {
    /// From here on `abandoned` may be called.
    pub fn new(line: Option<L>, abandoned: F) -> Self {
        Pending { line, abandoned: Some(abandoned) }
    }

    /// The line, to add to it.
    pub fn line(&mut self) -> Option<&mut L> {
        self.line.as_mut()
    }

    /// The answer is there: gives the line back.
    pub fn answered(mut self) -> Option<L> {
        self.abandoned = None;
        self.line.take()
    }
}

impl<L, F: FnOnce(Option<L>)> Drop for Pending<L, F> {
    fn drop(&mut self) {
        if let Some(abandoned) = self.abandoned.take() {
            abandoned(self.line.take());
        }
    }
}

/// Bytes shown of a method; the common ones are shorter.
const MAX_METHOD: usize = 16;

/// A method for a line of the log: clients may make up long ones.
pub fn loggable_method(method: &Method) -> String {
    loggable(method.as_str().as_bytes(), MAX_METHOD)
}

/// Text of a client for a line of the log: printable ASCII as it is, all else as `\xNN`, cut after `limit` bytes.
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
    use std::io;
    use std::sync::{Arc, Mutex};

    use futures_util::StreamExt as _;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    fn watched(body: Body) -> (Body, Arc<Mutex<Vec<Sent>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let answer = on_end(Response::new(body), &Method::GET, move |sent| sink.lock().unwrap().push(sent));
        (answer.into_body(), told)
    }

    /// Every download over HTTP/1.1 was logged as cut: the server drops a body that has given its `Content-Length`.
    #[tokio::test]
    async fn a_download_of_known_length_is_complete_when_all_of_it_was_sent() {
        let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
        let app = axum::Router::new().fallback(async move |method: Method| {
            let parts = futures_util::stream::iter(["123", "45"].map(|part| Ok::<_, io::Error>(Bytes::from(part))));
            let answer = Response::builder().header(CONTENT_LENGTH, 5).body(Body::from_stream(parts)).unwrap();
            on_end(answer, &method, move |sent| sender.send(sent).unwrap())
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        for (method, bytes) in [("GET", 5), ("HEAD", 0)] {
            let mut client = TcpStream::connect(address).await.unwrap();
            let request = format!("{method} / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
            assert_eq!(told.recv().await, Some(Sent { bytes, complete: true }), "{method}");
        }
        server.abort();
    }

    #[test]
    fn a_request_that_ends_before_its_answer_is_told_and_one_that_is_answered_is_not() {
        let told = Mutex::new(Vec::new());
        let pending = |line| Pending::new(line, |line: Option<&str>| told.lock().unwrap().push(line));
        assert_eq!(pending(Some("answered")).answered(), Some("answered"));
        drop(pending(Some("left")));
        drop(pending(None));
        assert_eq!(*told.lock().unwrap(), [Some("left"), None]);
    }

    #[test]
    fn a_method_that_a_client_made_up_stays_short() {
        let method = Method::from_bytes("X".repeat(100_000).as_bytes()).unwrap();
        assert_eq!(loggable_method(&method), format!("{}...", "X".repeat(MAX_METHOD)));
        assert_eq!(loggable_method(&Method::OPTIONS), "OPTIONS");
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
