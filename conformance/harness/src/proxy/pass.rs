//! Passes one request on, and its answer back, with the current fault.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::exchange::{Exchange, Replayed, status};
use super::replay::{Again, MAX_ANSWER, with_path};
use super::{Fault, Shared};

/// Longest head accepted.
const MAX_HEAD: usize = 64 << 10;
/// Time without progress after which a connection is closed.
const IDLE: Duration = Duration::from_mins(2);
/// Bytes moved at once.
const PIECE: usize = 32 << 10;
/// Interval between checks for a changed fault.
const LOOK: Duration = Duration::from_millis(20);

pub(super) fn pass(mut client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    client.set_read_timeout(Some(IDLE))?;
    client.set_nodelay(true)?;
    if shared.fault() == Fault::Gone {
        shared.refused.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    let (head, body) = read_head(&mut client)?;
    let exchange = Exchange::of(&head);
    let (is_download, is_of_entry) = (exchange.is_download(), exchange.is_of_entry());
    let asked = exchange.clone();
    let way = Way { shared: Arc::clone(shared), number: shared.begin(exchange), is_download, is_of_entry };
    let result = way.go(&asked, head, body, &mut client);
    let _ = client.shutdown(Shutdown::Both);
    shared.change(way.number, |exchange| exchange.over = true);
    result
}

/// One exchange in flight.
#[derive(Clone)]
struct Way {
    shared: Arc<Shared>,
    number: usize,
    is_download: bool,
    is_of_entry: bool,
}

impl Way {
    /// Passes everything from the request's head to the end of the answer.
    fn go(&self, asked: &Exchange, head: Vec<u8>, body: Vec<u8>, client: &mut TcpStream) -> io::Result<()> {
        self.wait_while(|fault| match fault {
            Fault::Stalled => true,
            Fault::Holding(text) => asked.path.contains(text),
            _ => false,
        })?;
        if let (Fault::Says(answer), true) = (self.shared.fault(), self.is_download) {
            self.shared.change(self.number, |exchange| exchange.answered(&answer));
            return client.write_all(&answer);
        }
        let Some(head) = self.replay(asked, head, client)? else { return Ok(()) };
        let mut portal = TcpStream::connect((self.shared.upstream.host.as_str(), self.shared.upstream.port))?;
        portal.set_read_timeout(Some(IDLE))?;
        portal.set_nodelay(true)?;
        portal.write_all(&with_close(&head))?;
        let (from, to, own) = (client.try_clone()?, portal.try_clone()?, self.clone());
        // Ends when either side closes.
        std::thread::spawn(move || own.request_body(body, from, to));
        let result = self.answer(&mut portal, client);
        let _ = portal.shutdown(Shutdown::Both);
        result
    }

    /// Waits while the fault matches. Fails if the fault becomes [`Fault::Gone`].
    fn wait_while(&self, is_so: impl Fn(&Fault) -> bool) -> io::Result<()> {
        loop {
            let fault = self.shared.fault();
            if fault == Fault::Gone || self.shared.is_over() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if !is_so(&fault) {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Delays by the current fault: stalled, trickling or none.
    fn pace(&self, bytes: usize) -> io::Result<()> {
        self.wait_while(|fault| *fault == Fault::Stalled)?;
        if let Fault::Trickle(rate) = self.shared.fault() {
            std::thread::sleep(Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64));
        }
        Ok(())
    }

    /// The head to send on, which may request other content. `None` if an old answer was already sent.
    fn replay(&self, asked: &Exchange, head: Vec<u8>, client: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
        let Fault::Replaying(old) = self.shared.fault() else { return Ok(Some(head)) };
        let note = |kind: Replayed| self.shared.change(self.number, |exchange| exchange.replayed = Some(kind));
        match old.instead_of(asked) {
            None => Ok(Some(head)),
            Some(Again::At(path, kind)) => {
                note(kind);
                Ok(Some(with_path(&head, &path)))
            }
            Some(Again::Answer(answer)) => {
                note(Replayed::Entry);
                self.shared.change(self.number, |exchange| exchange.answered(answer));
                self.send(client, answer)?;
                Ok(None)
            }
        }
    }

    fn request_body(&self, mut piece: Vec<u8>, mut client: TcpStream, mut portal: TcpStream) {
        let mut buffer = vec![0; PIECE];
        loop {
            let length = piece.len() as u64;
            self.shared.change(self.number, |exchange| exchange.received += length);
            if self.pace(piece.len()).and_then(|()| portal.write_all(&piece)).is_err() {
                // If the portal is gone, no answer will come.
                if self.shared.fault() == Fault::Gone {
                    let _ = portal.shutdown(Shutdown::Both);
                }
                return;
            }
            let Ok(read @ 1..) = client.read(&mut buffer) else {
                // Like a portal, do not wait for a client that has left.
                let _ = portal.shutdown(Shutdown::Both);
                return;
            };
            piece.clear();
            piece.extend_from_slice(&buffer[..read]);
        }
    }

    fn answer(&self, portal: &mut TcpStream, client: &mut TcpStream) -> io::Result<()> {
        let (head, mut body) = final_head(portal, client)?;
        self.shared.change(self.number, |exchange| exchange.answered(&head));
        let answered = Instant::now();
        self.wait_while(|fault| matches!(fault, Fault::Slow(wait) if self.is_download && answered.elapsed() < *wait))?;
        self.send(client, &head)?;
        let mut buffer = vec![0; PIECE];
        loop {
            if !body.is_empty() {
                self.pace(body.len())?;
                if self.is_download && self.shared.fault() == Fault::Lying {
                    let at = body.len() / 2;
                    body[at] ^= 1;
                }
                self.send(client, &body)?;
            }
            let read = portal.read(&mut buffer)?;
            if read == 0 {
                self.shared.change(self.number, |exchange| exchange.ended = Some(Instant::now()));
                return Ok(());
            }
            body.clear();
            body.extend_from_slice(&buffer[..read]);
        }
    }

    /// Counts the bytes before they are sent, so that a client that has read them finds them counted.
    fn send(&self, client: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        self.shared.change(self.number, |exchange| {
            exchange.sent += length;
            if self.is_of_entry && exchange.answer.len() + bytes.len() <= MAX_ANSWER {
                exchange.answer.extend_from_slice(bytes);
            }
        });
        if self.is_download {
            self.shared.sent.fetch_add(length, Ordering::Relaxed);
        }
        client.write_all(bytes)
    }
}

/// Reads the head of the final answer. 1xx answers are passed on before it.
fn final_head(portal: &mut TcpStream, client: &mut TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut left = Vec::new();
    loop {
        let (head, rest) = read_head_after(left, portal)?;
        if status(&String::from_utf8_lossy(&head)).is_some_and(|status| status >= 200) {
            return Ok((head, rest));
        }
        client.write_all(&head)?;
        left = rest;
    }
}

/// The head up to its empty line, and the bytes after it.
pub(super) fn read_head(stream: &mut TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    read_head_after(Vec::new(), stream)
}

/// Reads a head whose first bytes were already read.
fn read_head_after(mut bytes: Vec<u8>, stream: &mut TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut buffer = [0; 8192];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((bytes, body));
        }
        let read = stream.read(&mut buffer)?;
        if read == 0 || bytes.len() > MAX_HEAD {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..read]);
        // Some clients try TLS first, then http when it is refused.
        if !bytes[0].is_ascii_alphabetic() {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// The head with `Connection: close`.
fn with_close(head: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(head);
    let kept = text.trim_end().lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let lines: Vec<&str> = kept.chain(["Connection: close", "", ""]).collect();
    lines.join("\r\n").into_bytes()
}
