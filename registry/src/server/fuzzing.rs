//! Targets for fuzzing: the head of a request over HTTP/1.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{join, sink};

use super::first_bytes::{self, Protocol};
use super::line_ends::LineEnds;

/// The first bytes of a connection. Two parsers read each head: ours, which refuses bare LF, and that of the library.
/// They must see the same end, else bytes could pass that only one of them has checked.
pub(crate) fn request_head(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (protocol, first) = runtime.block_on(first_bytes::read(&mut &*bytes)).expect("memory can be read");
    assert!(bytes.starts_with(&first));
    let (end, bare) = end_of_head(bytes, bytes.len().max(1));
    assert_eq!(end_of_head(bytes, 1), (end, bare));
    assert_eq!(end_of_head(bytes, 7), (end, bare));
    if protocol != Protocol::Http1 {
        return;
    }
    let parsed = runtime.block_on(parsed(bytes));
    match end {
        Some(end) => {
            assert_eq!(runtime.block_on(self::parsed(&bytes[..end])), parsed);
            assert_eq!(runtime.block_on(self::parsed(&bytes[..end - 1])), None);
        }
        None => assert_eq!(parsed, None),
    }
}

/// Where the head ends, and whether it has a bare LF, if it is read in pieces of that size.
fn end_of_head(bytes: &[u8], size: usize) -> (Option<usize>, bool) {
    let (mut ends, mut read, mut bare) = (LineEnds::of(0), 0, false);
    for piece in bytes.chunks(size) {
        let (taken, found) = ends.read(piece);
        read += taken;
        bare |= found;
    }
    (ends.ended().then_some(read), bare)
}

/// The head of the first request that the library parses, with the limits of a connection.
async fn parsed(bytes: &[u8]) -> Option<String> {
    let found = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&found);
    let service = service_fn(move |request: Request<Incoming>| {
        let head = format!("{:?} {:?} {:?}", request.method(), request.uri(), request.headers());
        seen.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(head);
        std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let stream = TokioIo::new(join(std::io::Cursor::new(bytes.to_vec()), sink()));
    let _ = http1::Builder::new().max_header_size(16 << 10).serve_connection(stream, service).await;
    found.lock().unwrap_or_else(PoisonError::into_inner).take()
}
