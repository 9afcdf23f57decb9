//! The opening of a connection: the header of a trusted proxy, the handshake on a listener with TLS, and the first
//! bytes of the protocol.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serving::TrustedProxies;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::first_bytes::{self, Protocol, TLS_HANDSHAKE};
use super::proxy_header;
use super::socket::Socket;
use crate::telemetry::labels::Refusal;
use crate::tls::Tls;

/// Most encrypted bytes of a connection that wait for the kernel. They come on top of the frame that they are made of.
///
/// A handshake takes less memory than a connection has for its own request and frame. It has no request yet.
const QUEUE: usize = 32 << 10;

/// What comes before HTTP on the connections of a listener.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// Trusted proxies begin each connection with a header of the PROXY protocol. Nobody else does.
    pub proxy_protocol: bool,
}

impl From<Option<Tls>> for Entry {
    fn from(tls: Option<Tls>) -> Self {
        Entry { tls, proxy_protocol: false }
    }
}

/// A connection of which the first bytes are known.
#[derive(Debug)]
pub(super) struct Opened {
    /// The peer, or the client that a trusted proxy names.
    pub(super) client: SocketAddr,
    pub(super) socket: Socket,
    pub(super) protocol: Protocol,
    /// Bytes that were read. The parser must see them first.
    pub(super) first: Bytes,
}

/// Opens a connection. The error is the reason to end it: `None` if the peer has left.
pub(super) async fn open(
    mut stream: TcpStream,
    peer: SocketAddr,
    entry: &Entry,
    proxies: &TrustedProxies,
) -> Result<Opened, Option<Refusal>> {
    let mut client = peer;
    if entry.proxy_protocol && proxies.trust(peer.ip()) {
        // A proxy that only tries whether the port is open sends nothing.
        first_byte(&stream).await?;
        client = proxy_header::read(&mut stream).await.map_err(|_| Some(Refusal::proxy))?.unwrap_or(peer);
    }
    let Some(tls) = &entry.tls else { return read(client, Socket::Plain(stream)).await };
    if first_byte(&stream).await? != TLS_HANDSHAKE {
        let socket = Socket::Plain(stream);
        return Ok(Opened { client, socket, protocol: Protocol::Plain, first: Bytes::new() });
    }
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
    match acceptor.accept_with(stream, |session| session.set_buffer_limit(Some(QUEUE))).await {
        Ok(stream) => read(client, Socket::Tls(Box::new(stream))).await,
        Err(error) => {
            tracing::debug!(%error, "a TLS handshake failed");
            Err(Some(Refusal::handshake))
        }
    }
}

/// The next byte, which stays unread.
async fn first_byte(stream: &TcpStream) -> Result<u8, Option<Refusal>> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) => Ok(first[0]),
        _ => Err(None),
    }
}

async fn read(client: SocketAddr, mut socket: Socket) -> Result<Opened, Option<Refusal>> {
    let (protocol, first) = first_bytes::read(&mut socket).await.map_err(|_| None)?;
    let protocol = match (protocol, &socket) {
        // Within TLS these bytes are a head that the parser refuses.
        (Protocol::Tls, Socket::Tls(_)) => Protocol::Http1,
        (protocol, _) => protocol,
    };
    Ok(Opened { client, socket, protocol, first })
}
