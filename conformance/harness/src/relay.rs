//! A relay between a client and the registry that notes each request with its answer, and can slow uploads down.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::client::Target;

/// Connections at one time; a client that opens more waits.
const CONNECTIONS: u64 = 64;
const HEAD_LIMIT: u64 = 64 * 1024;

/// One request and how it was answered.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub method: String,
    /// Path and query, as sent.
    pub path: String,
    pub status: u16,
}

/// A listening relay; dropping it ends the listening.
#[derive(Debug)]
pub struct Relay {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Target,
    exchanges: Mutex<Vec<Exchange>>,
    /// Bytes of request bodies that were passed on.
    uploaded: AtomicU64,
    /// Bytes of answers that were passed on, with their heads.
    downloaded: AtomicU64,
    /// Bytes a second of each upload; 0 is as fast as it goes.
    upload_rate: AtomicU64,
    open: AtomicU64,
    ended: AtomicBool,
}

impl Relay {
    pub fn start(target: &Target) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            target: target.clone(),
            exchanges: Mutex::default(),
            uploaded: AtomicU64::new(0),
            downloaded: AtomicU64::new(0),
            upload_rate: AtomicU64::new(0),
            open: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Ok(Relay { port, shared })
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// All exchanges that ended so far.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.shared.exchanges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The answers to all requests to mount a blob, in order.
    pub fn mounts(&self) -> Vec<u16> {
        let exchanges = self.exchanges();
        let mounts = exchanges.iter().filter(|one| one.method == "POST" && one.path.contains("mount="));
        mounts.map(|one| one.status).collect()
    }

    /// Bytes of all answers so far, with their heads.
    pub fn downloaded(&self) -> u64 {
        self.shared.downloaded.load(Ordering::Relaxed)
    }

    /// Waits until so many bytes were passed on, as long as the uploading client runs.
    pub fn wait_uploaded(&self, bytes: u64, mut runs: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        while self.shared.uploaded.load(Ordering::Relaxed) < bytes {
            ensure!(runs()?, "the client ended before it had sent {bytes} bytes");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Slows each upload to so many bytes a second; 0 lifts it.
    pub fn slow_uploads(&self, bytes_per_second: u64) {
        self.shared.upload_rate.store(bytes_per_second, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes the accepting thread
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        while shared.open.load(Ordering::Relaxed) >= CONNECTIONS {
            std::thread::sleep(Duration::from_millis(5));
        }
        let Ok(client) = client else { continue };
        shared.open.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let _ = serve(&client, &shared); // either side may hang up at any time
            let _ = client.shutdown(Shutdown::Both);
            shared.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Passes request after request of one connection on.
fn serve(client: &TcpStream, shared: &Shared) -> anyhow::Result<()> {
    let server = TcpStream::connect((shared.target.host.as_str(), shared.target.port))?;
    for stream in [client, &server] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_mins(2)))?;
    }
    let (mut from_client, mut from_server) = (BufReader::new(client), BufReader::new(&server));
    while let Some(request) = Head::read(&mut from_client)? {
        let mut words = request.first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        (&server).write_all(request.text.as_bytes())?;
        // A server may answer and hang up in mid-body; its answer is still wanted then.
        let sent = request.send_body(&mut from_client, &server, &mut |bytes| shared.pace_upload(bytes));
        let answer = loop {
            let answer = Head::read(&mut from_server)?.context("no answer")?;
            if answer.status()? >= 200 {
                break answer;
            }
            (&*client).write_all(answer.text.as_bytes())?;
        };
        let status = answer.status()?;
        shared.note(method, path, status);
        let mut to_client = Counting { inner: client, count: &shared.downloaded };
        to_client.write_all(answer.text.as_bytes())?;
        if method != "HEAD" && !matches!(status, 204 | 304) {
            answer.send_answer_body(&mut from_server, to_client)?;
        }
        sent?;
    }
    Ok(())
}

impl Shared {
    fn note(&self, method: &str, path: &str, status: u16) {
        let exchange = Exchange { method: method.to_owned(), path: path.to_owned(), status };
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
    }

    fn pace_upload(&self, bytes: usize) {
        self.uploaded.fetch_add(bytes as u64, Ordering::Relaxed);
        let rate = self.upload_rate.load(Ordering::Relaxed);
        if rate > 0 {
            std::thread::sleep(Duration::from_secs_f64(bytes as f64 / rate as f64));
        }
    }
}

/// Counts what passes.
struct Counting<'a> {
    inner: &'a TcpStream,
    count: &'a AtomicU64,
}

impl Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// A request's or an answer's first line and headers.
struct Head {
    first: String,
    text: String,
}

impl Head {
    /// None if the connection ended between two messages.
    fn read(from: &mut impl BufRead) -> anyhow::Result<Option<Self>> {
        let mut text = String::new();
        let mut first = None;
        loop {
            let start = text.len();
            from.take(HEAD_LIMIT).read_line(&mut text)?;
            let line = &text[start..];
            if !line.ends_with('\n') || text.len() as u64 > HEAD_LIMIT {
                if first.is_none() && line.is_empty() {
                    return Ok(None);
                }
                bail!("a head cut short or too long");
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                return Ok(first.map(|first| Head { first, text }));
            }
            first.get_or_insert(line);
        }
    }

    fn status(&self) -> anyhow::Result<u16> {
        self.first.split(' ').nth(1).context("no status")?.parse().context("status")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn is_chunked(&self) -> bool {
        self.header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }

    fn send_body(&self, from: &mut impl BufRead, to: impl Write, pace: &mut dyn FnMut(usize)) -> anyhow::Result<()> {
        if self.is_chunked() {
            return copy_chunks(from, to, pace);
        }
        let length = self.header("Content-Length").map_or(Ok(0), str::parse)?;
        copy(from, to, length, pace)
    }

    fn send_answer_body(&self, from: &mut impl BufRead, mut to: impl Write) -> anyhow::Result<()> {
        if self.is_chunked() || self.header("Content-Length").is_some() {
            return self.send_body(from, to, &mut |_| {});
        }
        std::io::copy(from, &mut to)?; // framed by the end of the connection
        bail!("the connection ended with the answer")
    }
}

fn copy(from: &mut impl BufRead, mut to: impl Write, mut left: u64, pace: &mut dyn FnMut(usize)) -> anyhow::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    while left > 0 {
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let got = from.read(&mut buffer[..wanted])?;
        if got == 0 {
            bail!("body cut with {left} bytes to come");
        }
        to.write_all(&buffer[..got])?;
        pace(got);
        left -= got as u64;
    }
    Ok(())
}

fn copy_chunks(from: &mut impl BufRead, mut to: impl Write, pace: &mut dyn FnMut(usize)) -> anyhow::Result<()> {
    loop {
        let mut line = String::new();
        from.take(1024).read_line(&mut line)?;
        to.write_all(line.as_bytes())?;
        let size = u64::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16).context("chunk size")?;
        copy(from, &mut to, size + 2, pace)?; // and the line end
        if size == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Connection, Request};

    /// Answers each request with its own body, chunked, and 201.
    fn echo_server() -> Target {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut reader = BufReader::new(&stream);
                while let Ok(Some(head)) = Head::read(&mut reader) {
                    let mut body = Vec::new();
                    head.send_body(&mut reader, &mut body, &mut |_| {}).unwrap();
                    if !head.is_chunked() {
                        let size = format!("{:x}\r\n", body.len()).into_bytes();
                        body = [size, body, b"\r\n0\r\n\r\n".to_vec()].concat();
                    }
                    (&stream).write_all(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
                    (&stream).write_all(&body).unwrap();
                }
            }
        });
        Target::local(port)
    }

    #[test]
    fn bodies_of_both_framings_pass_unchanged_and_are_noted() {
        let relay = Relay::start(&echo_server()).unwrap();
        let through = Target::local(relay.port);
        let mut connection = Connection::open(&through).unwrap();
        let content = crate::noise::noise("relay", 200_000);
        let mount = "/v2/a/blobs/uploads/?mount=sha256:12&from=b";
        let sized = connection.send(&Request::new("POST", mount).body(content.clone())).unwrap();
        let chunked = connection.send(&Request::new("PUT", "/x").chunked(content.clone(), 7_000)).unwrap();
        assert!(sized.body == content && chunked.body == content);
        assert_eq!(relay.mounts(), [201]);
        let seen: Vec<_> = relay.exchanges().into_iter().map(|one| (one.method, one.path, one.status)).collect();
        assert_eq!(seen[1], ("PUT".to_owned(), "/x".to_owned(), 201));
        relay.wait_uploaded(400_000, || Ok(true)).unwrap();
        assert!((400_000..402_000).contains(&relay.downloaded()), "{}", relay.downloaded());
        assert!(relay.wait_uploaded(u64::MAX, || Ok(false)).is_err());
    }
}
