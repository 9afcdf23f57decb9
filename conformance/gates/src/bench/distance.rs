//! A link with a round trip of 60 ms to a server on loopback, an upload over HTTP/2 through it, and pulls over HTTP/2.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::{Connection, Target};

use super::content::LargeBlob;
use super::push::{begin, closing};

/// From the client to the server, or back.
const ONE_WAY: Duration = Duration::from_millis(30);

/// Bytes read at once, and such pieces in flight each way: more than any window of HTTP/2 that a server may give.
const PIECE: usize = 16 << 10;
const PIECES: usize = 4096;

/// A link to a server. It takes any number of bytes a second. Dropping it ends new connections.
#[derive(Debug)]
pub(super) struct Link {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Link {
    pub(super) fn to(server: &Target) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (address, stop) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let (server, stopped) = ((server.host.clone(), server.port), Arc::clone(&stop));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                // The client sees a failure as the end of its connection.
                let _ = TcpStream::connect((server.0.as_str(), server.1)).and_then(|server| join(client, server));
            }
        });
        Ok(Link { address, stop })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

fn join(client: TcpStream, server: TcpStream) -> io::Result<()> {
    for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        to.set_nodelay(true)?;
        let (sender, receiver) = sync_channel(PIECES);
        thread::spawn(move || take_in(from, &sender));
        thread::spawn(move || deliver(to, &receiver));
    }
    Ok(())
}

fn take_in(mut from: TcpStream, sender: &SyncSender<(Instant, Vec<u8>)>) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if sender.send((Instant::now() + ONE_WAY, piece[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn deliver(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>) {
    for (due, piece) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Pushes a blob from a file by one PUT over HTTP/2 through the link.
pub(super) fn push_over_http2(target: &Target, link: &Link, blob: &LargeBlob, file: &Path) -> anyhow::Result<()> {
    let location = begin(&mut Connection::open(target)?, "bench/distant")?;
    let mut curl = curl("%{http_version} %{http_code}");
    curl.args(["--output", "/dev/null", "--header", "Content-Type: application/octet-stream", "--upload-file"]);
    curl.arg(file).arg(format!("http://{}{}", link.address, closing(&location, &blob.digest)));
    says(&mut curl, "2 201")
}

/// Pulls a blob of this length over HTTP/2, on a connection of its own: curl 7.88 cannot use one again that it did not
/// negotiate.
pub(super) fn pull_over_http2(target: &Target, path: &str, length: u64) -> anyhow::Result<()> {
    let mut curl = curl("%{http_version} %{http_code} %{size_download}");
    curl.args(["--output", "/dev/null"]).arg(format!("http://{}:{}{path}", target.host, target.port));
    says(&mut curl, &format!("2 200 {length}"))
}

/// curl over HTTP/2, which says this of each transfer.
fn curl(say: &str) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--http2-prior-knowledge", "--max-time", "300", "--write-out", say]);
    curl
}

fn says(curl: &mut Command, wanted: &str) -> anyhow::Result<()> {
    let output = curl.output().context("run curl")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said == wanted, "{said}, {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_takes_60_ms_there_and_back_and_all_bytes_come() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let link = Link::to(&Target::local(listener.local_addr().unwrap().port())).unwrap();
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let mut stream = TcpStream::connect(link.address).unwrap();
        let began = Instant::now();
        let bytes: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
        stream.write_all(&bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(began.elapsed() >= 2 * ONE_WAY);
        assert!(back == bytes);
        echo.join().unwrap();
    }
}
