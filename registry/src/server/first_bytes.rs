//! Reads the first bytes of a connection, which distinguish HTTP/1, HTTP/2 with prior knowledge, and TLS.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The first bytes that an h2 client sends (RFC 9113 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The type of a TLS handshake record (RFC 8446 5.1). No HTTP method starts with it.
pub(super) const TLS_HANDSHAKE: u8 = 0x16;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.0 or 1.1, or bytes that its parser will refuse.
    Http1,
    /// HTTP/2, which needs no TLS here.
    Http2,
    /// TLS, on a port without it.
    Tls,
    /// No TLS, on a port with it.
    Plain,
    /// Closed without a byte.
    Nothing,
}

/// Reads only as far as needed. The caller must hand the returned bytes to the parser.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Protocol, Bytes)> {
    let mut bytes = BytesMut::with_capacity(H2_PREFACE.len());
    loop {
        let mut rest = (&mut *stream).take((H2_PREFACE.len() - bytes.len()) as u64);
        let closed = rest.read_buf(&mut bytes).await? == 0;
        let protocol = match bytes.first() {
            None => Protocol::Nothing,
            Some(&TLS_HANDSHAKE) => Protocol::Tls,
            Some(_) if bytes == H2_PREFACE => Protocol::Http2,
            Some(_) if H2_PREFACE.starts_with(&bytes) && !closed => continue,
            Some(_) => Protocol::Http1,
        };
        return Ok((protocol, bytes.freeze()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn protocols_are_told_apart_by_their_first_bytes() {
        for (sent, protocol, kept) in [
            (&b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n"[..], Protocol::Http1, 24),
            (b"P", Protocol::Http1, 1),
            (b"PRI * HTTP/1.1\r\n", Protocol::Http1, 16),
            (b"PUT /", Protocol::Http1, 5),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", Protocol::Http2, 24),
            (b"\x16\x03\x01", Protocol::Tls, 3),
            (b"", Protocol::Nothing, 0),
        ] {
            let (found, bytes) = read(&mut &sent[..]).await.unwrap();
            assert_eq!((found, bytes.len()), (protocol, kept), "{sent:?}");
            assert_eq!(bytes, sent[..kept]);
        }
    }

    #[tokio::test]
    async fn a_preface_in_single_bytes_is_still_http2() {
        let (mut ours, mut theirs) = tokio::io::duplex(1);
        let writing = tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut theirs, H2_PREFACE).await });
        assert_eq!(read(&mut ours).await.unwrap().0, Protocol::Http2);
        writing.await.unwrap().unwrap();
    }
}
