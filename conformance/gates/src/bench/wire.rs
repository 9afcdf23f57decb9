//! A client as cheap as possible, so that it does not slow what it measures. Requests are encoded in advance, and
//! answers only counted.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, bail};
use harness::client::Target;

const BUFFER: usize = 256 * 1024;

/// A kept-alive connection that discards bodies.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The counted answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) status: u16,
    pub(super) body: u64,
}

impl Wire {
    pub(super) fn open(target: &Target) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((target.host.as_str(), target.port)).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        Ok(Wire { stream, buffer: vec![0; BUFFER] })
    }

    /// Sends an encoded request and reads its whole answer. `seen` gets each piece of the body.
    pub(super) fn exchange(&mut self, request: &Encoded, mut seen: impl FnMut(&[u8])) -> anyhow::Result<Counted> {
        self.stream.write_all(&request.bytes)?;
        let mut filled = 0;
        let end = loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            if read == 0 {
                bail!("connection closed, or a head longer than {BUFFER} bytes");
            }
            filled += read;
            if let Some(end) = self.buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let (status, announced) = parse_head(&self.buffer[..end])?;
        let length = if request.head_only { 0 } else { announced };
        let mut received = (filled - end) as u64;
        seen(&self.buffer[end..filled]);
        while received < length {
            let read = self.stream.read(&mut self.buffer)?;
            if read == 0 {
                bail!("body cut: {received} of {length} bytes");
            }
            seen(&self.buffer[..read]);
            received += read as u64;
        }
        if received != length {
            bail!("{received} bytes came where {length} were announced");
        }
        Ok(Counted { status, body: length })
    }
}

/// An encoded request without a body.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    bytes: Vec<u8>,
    head_only: bool,
}

impl Encoded {
    pub(super) fn new(target: &Target, method: &str, path: &str) -> Self {
        // Approximately what container clients send, since servers choose and parse by it.
        let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: bench\r\nAccept: {accept}, */*\r\n\r\n",
            target.authority()
        );
        Encoded { bytes: head.into_bytes(), head_only: method == "HEAD" }
    }
}

/// Status and `Content-Length`. Bodies with other framing cannot be counted.
fn parse_head(head: &[u8]) -> anyhow::Result<(u16, u64)> {
    let head = std::str::from_utf8(head).context("head")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .with_context(|| format!("a {status} answer without Content-Length"))?;
    Ok((status, length.1.trim().parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_whatever_their_case() {
        assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-LENGTH: 12\r\n\r\n").unwrap(), (200, 12));
        assert!(parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn a_cut_body_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort").unwrap();
        });
        let target = Target::local(port);
        let mut wire = Wire::open(&target).unwrap();
        let error = wire.exchange(&Encoded::new(&target, "GET", "/"), |_| ()).unwrap_err();
        assert!(error.to_string().contains("body cut: 5 of 10"), "{error}");
        server.join().unwrap();
    }
}
