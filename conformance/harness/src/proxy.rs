//! A proxy in front of a portal or registry. It misbehaves on demand, and records the requests that pass.
//!
//! It speaks HTTP/1.1 with one request per connection. It adds `Connection: close` to each head. So an answer ends with
//! its connection, and its bytes can be counted or changed without parsing.

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

/// How the proxy treats requests. It may change at any time, even for requests in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Passes everything on.
    None,
    /// Waits before the first byte of each download.
    Slow(Duration),
    /// Passes this many bytes a second on each connection, each way.
    Trickle(u64),
    /// Accepts requests and passes nothing on, until the fault changes.
    Stalled,
    /// Flips a bit in each piece of a download.
    Lying,
    /// Replaces answers with old ones: for other content, or for another client, if it has any.
    Replaying(Arc<Old>),
    /// Closes each connection at once.
    Gone,
    /// Answers each download with these bytes: a head and a body.
    Says(Arc<[u8]>),
    /// Delays requests whose path contains this text, until the fault changes.
    Holding(&'static str),
}

#[derive(Debug)]
struct Shared {
    upstream: Target,
    fault: Mutex<Fault>,
    exchanges: Mutex<Vec<Exchange>>,
    /// Bytes of downloads, including heads.
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

/// A running proxy. Dropping it stops it.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Proxy {
    /// Starts a proxy on loopback for a server that speaks http.
    pub fn before(upstream: &Target) -> anyhow::Result<Self> {
        ensure!(upstream.tls.is_none(), not_here("requests can be recorded over http only"));
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

    /// `HOST:PORT`, as in logs and metrics.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// All requests so far, in the order of arrival.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.shared.exchanges().clone()
    }

    /// The number of requests so far, to pass to [`Proxy::since`].
    pub fn mark(&self) -> usize {
        self.shared.exchanges().len()
    }

    /// The requests after a mark.
    pub fn since(&self, mark: usize) -> Vec<Exchange> {
        self.shared.exchanges().get(mark..).unwrap_or_default().to_vec()
    }

    /// The number of requests after a mark that got an old answer of this kind.
    pub fn replayed(&self, mark: usize, kind: Replayed) -> usize {
        self.since(mark).iter().filter(|one| one.is_success() && one.replayed == Some(kind)).count()
    }

    /// The number of connections closed at once because the portal is gone.
    pub fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Waits until this many bytes of request bodies have arrived. Fails if the client that sends them ends before.
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
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.is_over() {
            return;
        }
        let (Ok(stream), shared) = (stream, Arc::clone(shared)) else { continue };
        // Failures here are failures of the connection, and the client sees them.
        std::thread::spawn(move || drop(pass::pass(stream, &shared)));
    }
}

#[cfg(test)]
mod tests;
