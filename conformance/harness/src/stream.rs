//! A connection to a server, plain or over TLS, readable and writable through a shared reference like a socket.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// An open connection.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    /// The handshake happens with the first bytes. Two threads cannot use a TLS connection at the same time.
    tls: Option<Mutex<StreamOwned<ClientConnection, TcpStream>>>,
}

impl Stream {
    pub fn open(host: &str, port: u16, tls: Option<&Arc<ClientConfig>>) -> anyhow::Result<Self> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Stream::over(TcpStream::connect((host, port)).context("connect")?, host, tls)
    }

    /// A connection over a socket, on which something else may have been sent before.
    pub fn over(socket: TcpStream, host: &str, tls: Option<&Arc<ClientConfig>>) -> anyhow::Result<Self> {
        let Some(config) = tls else { return Ok(Stream { socket, tls: None }) };
        let name = ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is not a server name"))?;
        let connection = ClientConnection::new(Arc::clone(config), name)?;
        let tls = Some(Mutex::new(StreamOwned::new(connection, socket.try_clone()?)));
        Ok(Stream { socket, tls })
    }

    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.set_nodelay(nodelay)
    }

    pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(limit)
    }

    pub fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.socket.set_write_timeout(limit)
    }

    /// The certificate that the server showed; `None` without TLS or before the handshake.
    pub fn certificate(&self) -> Option<Vec<u8>> {
        Some(self.tls()?.conn.peer_certificates()?.first()?.to_vec())
    }

    fn tls(&self) -> Option<MutexGuard<'_, StreamOwned<ClientConnection, TcpStream>>> {
        self.tls.as_ref().map(|tls| tls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.tls() {
            None => (&self.socket).read(buffer),
            // Some servers close the socket without a TLS close.
            Some(mut tls) => match tls.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                other => other,
            },
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.tls() {
            None => (&self.socket).write(bytes),
            Some(mut tls) => {
                let written = tls.write(bytes)?;
                tls.flush()?;
                Ok(written)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}
