//! Requests sent in parts, or in forms that no well-behaved client sends.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::client::{Connection, Response, Target};
use crate::stream::Stream;

/// A request whose head was sent and whose body is incomplete.
#[derive(Debug)]
pub struct Partial {
    connection: Connection,
}

impl Partial {
    /// Sends a head unchanged (with `Host`, without the empty line) and the first bytes of the body.
    pub fn open(target: &Target, head: &str, first: &[u8]) -> anyhow::Result<Self> {
        let connection = Connection::open(target)?;
        let (line, rest) = head.split_once("\r\n").unwrap_or((head, ""));
        let fields = if rest.is_empty() { String::new() } else { format!("{}\r\n", rest.trim_end()) };
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let login = connection.authorization(method, path)?;
        let login = login.map(|login| format!("Authorization: {login}\r\n")).unwrap_or_default();
        let head = format!("{line}\r\nHost: {}\r\n{login}{fields}\r\n", target.authority());
        let mut partial = Partial { connection };
        partial.more(head.as_bytes())?;
        partial.more(first)?;
        Ok(partial)
    }

    /// A connection without any request.
    pub fn bare(target: &Target) -> anyhow::Result<Self> {
        Ok(Partial { connection: Connection::open(target)? })
    }

    pub fn stream(&self) -> &Stream {
        self.connection.stream()
    }

    /// A request with this length whose body begins with `first`.
    pub fn sized(
        target: &Target,
        method: &str,
        path: &str,
        fields: &str,
        length: usize,
        first: &[u8],
    ) -> anyhow::Result<Self> {
        let head = format!("{method} {path} HTTP/1.1\r\nContent-Length: {length}\r\n{fields}");
        Partial::open(target, &head, first)
    }

    pub fn more(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.connection.stream().write_all(bytes).context("send a part")
    }

    pub fn patience(&self, limit: Duration) -> anyhow::Result<()> {
        Ok(self.connection.stream().set_read_timeout(Some(limit))?)
    }

    /// The final answer; 1xx answers are skipped.
    pub fn answer(&mut self) -> anyhow::Result<Response> {
        self.connection.read(false)
    }

    /// The next raw bytes, for 1xx answers. Use it only before [`Partial::answer`].
    pub fn raw(&mut self, limit: Duration) -> anyhow::Result<String> {
        self.patience(limit)?;
        let mut buffer = [0; 4096];
        let read = self.connection.stream().read(&mut buffer).context("raw answer")?;
        Ok(String::from_utf8_lossy(&buffer[..read]).into_owned())
    }

    /// All bytes until the server closes. Fails if it has not closed by the limit.
    pub fn until_closed(&mut self, limit: Duration) -> anyhow::Result<String> {
        let deadline = Instant::now() + limit;
        let mut all = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("connection still open after {limit:?}; received {:?}", String::from_utf8_lossy(&all));
            }
            self.patience(left)?;
            let mut buffer = [0; 4096];
            match self.connection.stream().read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => all.extend_from_slice(&buffer[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => break,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(String::from_utf8_lossy(&all).into_owned())
    }
}

/// Repeats `ask` until it succeeds. At the limit its last error is returned.
pub fn eventually(limit: Duration, mut ask: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        match ask() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error.context(format!("unchanged after {limit:?}"))),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
