//! Sends raw bytes to a server, and reads its answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use harness::client::Target;

/// The bytes received on a connection.
#[derive(Clone, Debug)]
pub struct Said {
    pub bytes: Vec<u8>,
    /// True if the server closed it, normally or by a reset.
    pub closed: bool,
    pub took: Duration,
}

impl Said {
    /// The statuses of the answers, in order, without 1xx.
    pub fn statuses(&self) -> Vec<u16> {
        let text = String::from_utf8_lossy(&self.bytes);
        let statuses = text.match_indices("HTTP/1.").filter_map(|(at, _)| {
            // An error body could quote a request's line. A status line has a number after its version.
            let rest = &text[at..];
            let line = rest.split("\r\n").next().unwrap_or(rest);
            let mut words = line.split(' ');
            (words.next()?.len() == 8).then_some(())?;
            words.next()?.parse().ok()
        });
        statuses.filter(|status| *status >= 200).collect()
    }

    /// Its start, on one line.
    pub fn clip(&self) -> String {
        harness::site::clip(&String::from_utf8_lossy(&self.bytes))
    }
}

/// A raw connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    opened: Instant,
    bytes: Vec<u8>,
    closed: bool,
}

impl Raw {
    pub fn open(target: &Target) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect((target.host.as_str(), target.port)).context("the server takes no connection")?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(Raw { stream, opened: Instant::now(), bytes: Vec::new(), closed: false })
    }

    /// A connection from the address 127.0.0.`last`.
    pub fn open_from(target: &Target, last: u8) -> anyhow::Result<Self> {
        let stream = connect_from([127, 0, 0, last], target.port).context("the server takes no connection")?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(Raw { stream, opened: Instant::now(), bytes: Vec::new(), closed: false })
    }

    /// Sends as much as the server accepts. It may have closed already.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = self.stream.write_all(bytes).is_ok();
        self.closed |= !sent;
        sent
    }

    /// Signals that nothing more will be sent.
    pub fn end(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads until the server closes, `enough` returns true, or the time is over.
    pub fn listen(&mut self, limit: Duration, enough: impl Fn(&Said) -> bool) -> anyhow::Result<Said> {
        let deadline = Instant::now() + limit;
        let mut ended = false;
        loop {
            let said = Said { bytes: self.bytes.clone(), closed: self.closed, took: self.opened.elapsed() };
            let left = deadline.saturating_duration_since(Instant::now());
            if ended || left.is_zero() || enough(&said) {
                return Ok(said);
            }
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let mut buffer = [0; 16 << 10];
            match self.stream.read(&mut buffer) {
                Ok(0) => (ended, self.closed) = (true, true),
                Ok(read) => self.bytes.extend_from_slice(&buffer[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    (ended, self.closed) = (true, true);
                }
                Err(error) => bail!("read: {error}"),
            }
        }
    }

    /// Reads until the server closes. Fails if it does not.
    pub fn until_closed(&mut self, limit: Duration) -> anyhow::Result<Said> {
        let said = self.listen(limit, |_| false)?;
        ensure!(said.closed, "the connection is still open after {limit:?}; it said {:?}", said.clip());
        Ok(said)
    }
}

/// Connects to a port of 127.0.0.1 from another address of the loopback.
#[expect(unsafe_code, reason = "std cannot bind a socket before it connects")]
pub fn connect_from(source: [u8; 4], port: u16) -> std::io::Result<TcpStream> {
    let address = |address: [u8; 4], port: u16| libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address) },
        sin_zero: [0; 8],
    };
    let check = |result: libc::c_int| if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) };
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    let (from, to) = (address(source, 0), address([127, 0, 0, 1], port));
    // SAFETY: the descriptor is new and owned by the stream alone, and both addresses live during the calls.
    unsafe {
        let stream =
            TcpStream::from_raw_fd(check(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0))?);
        check(libc::bind(stream.as_raw_fd(), (&raw const from).cast(), length))?;
        check(libc::connect(stream.as_raw_fd(), (&raw const to).cast(), length))?;
        Ok(stream)
    }
}

/// Sends bytes on a new connection, and reads until it closes.
pub fn exchange(target: &Target, bytes: &[u8], limit: Duration) -> anyhow::Result<Said> {
    let mut raw = Raw::open(target)?;
    raw.send(bytes);
    raw.until_closed(limit)
}
