//! The opening of a connection: the handshake on a listener with TLS, and the first bytes of the protocol.

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::first_bytes::{self, Protocol, TLS_HANDSHAKE};
use super::socket::Socket;
use crate::telemetry::labels::Refusal;
use crate::tls::Tls;

/// Most encrypted bytes of a connection that wait for the kernel. They come on top of the frame that they are made of.
///
/// A handshake takes less memory than a connection has for its own request and frame. It has no request yet.
const QUEUE: usize = 32 << 10;

/// A connection of which the first bytes are known.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) socket: Socket,
    pub(super) protocol: Protocol,
    /// Bytes that were read. The parser must see them first.
    pub(super) first: Bytes,
}

/// Opens a connection. The error is the reason to end it: `None` if the peer has left.
pub(super) async fn open(stream: TcpStream, tls: Option<&Tls>) -> Result<Opened, Option<Refusal>> {
    let Some(tls) = tls else { return read(Socket::Plain(stream)).await };
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first == [TLS_HANDSHAKE] => {}
        Ok(1) => {
            return Ok(Opened { socket: Socket::Plain(stream), protocol: Protocol::Plain, first: Bytes::new() });
        }
        _ => return Err(None),
    }
    let acceptor = TlsAcceptor::from(std::sync::Arc::clone(&tls.config));
    match acceptor.accept_with(stream, |session| session.set_buffer_limit(Some(QUEUE))).await {
        Ok(stream) => read(Socket::Tls(Box::new(stream))).await,
        Err(error) => {
            tracing::debug!(%error, "a TLS handshake failed");
            Err(Some(Refusal::handshake))
        }
    }
}

async fn read(mut socket: Socket) -> Result<Opened, Option<Refusal>> {
    let (protocol, first) = first_bytes::read(&mut socket).await.map_err(|_| None)?;
    let protocol = match (protocol, &socket) {
        // Within TLS these bytes are a head that the parser refuses.
        (Protocol::Tls, Socket::Tls(_)) => Protocol::Http1,
        (protocol, _) => protocol,
    };
    Ok(Opened { socket, protocol, first })
}
