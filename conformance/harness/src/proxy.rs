//! A proxy before a portal or a registry that can be told to misbehave, and that counts what passes.
//!
//! It speaks HTTP/1.1 with one request a connection: it puts `Connection: close` into each head, so that an answer ends
//! with its connection and its bytes need no framing to be counted or changed.

pub mod exchange;
mod pass;
pub mod replay;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::ensure;

use crate::client::Target;
use crate::expect::not_here;
use exchange::{Exchange, Replayed};
use replay::Old;

/// What the proxy does to requests. It may change at any time, also for those under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Passes everything on.
    None,
    /// Waits before the first byte of each download.
    Slow(Duration),
    /// Lets so many bytes a second through on each connection, each way.
    Trickle(u64),
    /// Takes requests and passes nothing on, until it is told otherwise.
    Stalled,
    /// Turns a bit in each piece of a download.
    Lying,
    /// Answers with what was answered before, to something else or to somebody else, wherever there is such an answer.
    Replaying(Arc<Old>),
    /// Closes each connection at once.
    Gone,
    /// Answers each download with these bytes: a head and a body.
    Says(Arc<[u8]>),
    /// Holds requests back whose path holds this text, until it is told otherwise.
    Holding(&'static str),
}

#[derive(Debug)]
struct Shared {
    upstream: Target,
    fault: Mutex<Fault>,
    exchanges: Mutex<Vec<Exchange>>,
    /// Bytes of downloads, heads included.
    sent: AtomicU64,
    /// Connections that were closed at once.
    refused: AtomicUsize,
    stop: AtomicBool,
}

impl Fault {
    /// Answers each download with these bytes: a head and a body.
    pub fn says(answer: impl AsRef<[u8]>) -> Self {
        Fault::Says(answer.as_ref().into())
    }
}

impl Shared {
    fn fault(&self) -> Fault {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn exchanges(&self) -> MutexGuard<'_, Vec<Exchange>> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, exchange: Exchange) -> usize {
        let mut all = self.exchanges();
        all.push(exchange);
        all.len() - 1
    }

    fn change(&self, number: usize, change: impl FnOnce(&mut Exchange)) {
        self.exchanges().get_mut(number).map(change);
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// A running proxy; dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Proxy {
    /// Listens on loopback before a server that speaks http.
    pub fn before(upstream: &Target) -> anyhow::Result<Self> {
        ensure!(upstream.tls.is_none(), not_here("the proxy that watches requests speaks http only"));
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: upstream.clone(),
            fault: Mutex::new(Fault::None),
            exchanges: Mutex::default(),
            sent: AtomicU64::new(0),
            refused: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &own));
        Ok(Proxy { shared, address })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `HOST:PORT`, as it stands in logs and metrics.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// All requests so far, in the order they came.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.shared.exchanges().clone()
    }

    /// How many requests there were: where [`Proxy::since`] begins.
    pub fn mark(&self) -> usize {
        self.shared.exchanges().len()
    }

    /// The requests that came after a mark was taken.
    pub fn since(&self, mark: usize) -> Vec<Exchange> {
        self.shared.exchanges().get(mark..).unwrap_or_default().to_vec()
    }

    /// How many requests after a mark were answered with something old of this kind.
    pub fn replayed(&self, mark: usize, kind: Replayed) -> usize {
        self.since(mark).iter().filter(|one| one.is_success() && one.replayed == Some(kind)).count()
    }

    /// Connections so far that were closed at once, because the portal is gone.
    pub fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Waits until this many bytes of request bodies came, as long as the client that sends them runs.
    pub fn wait_received(&self, bytes: u64, mut runs: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        while self.shared.exchanges().iter().map(|exchange| exchange.received).sum::<u64>() < bytes {
            ensure!(runs()?, "the client ended before it had sent {bytes} bytes");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Bytes of all downloads so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.is_over() {
            return;
        }
        let (Ok(stream), shared) = (stream, Arc::clone(shared)) else { continue };
        // What fails here is what a portal's connection can fail with: the other side sees it.
        std::thread::spawn(move || drop(pass::pass(stream, &shared)));
    }
}

#[cfg(test)]
mod tests;
