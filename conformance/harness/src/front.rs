//! A front before a portal that can be told to misbehave, and that counts what passes.
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

use exchange::{Exchange, Replayed};
use replay::Old;

/// What the front does to requests. It may change at any time, also for those that are under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Passes everything on.
    Honest,
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
    /// Answers each download like this, whole with head.
    Says(&'static str),
    /// Holds requests back whose path holds this text, until it is told otherwise.
    Holding(&'static str),
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    manner: Mutex<Manner>,
    exchanges: Mutex<Vec<Exchange>>,
    /// Bytes of downloads, heads included.
    sent: AtomicU64,
    /// Connections that were closed at once.
    refused: AtomicUsize,
    stop: AtomicBool,
}

impl Shared {
    fn manner(&self) -> Manner {
        self.manner.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

/// A running front; dropping it ends it.
#[derive(Debug)]
pub struct Front {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Front {
    pub fn before(upstream: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            manner: Mutex::new(Manner::Honest),
            exchanges: Mutex::default(),
            sent: AtomicU64::new(0),
            refused: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &own));
        Ok(Front { shared, address })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `HOST:PORT`, as it stands in logs and metrics.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    pub fn set(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// All requests so far, in the order they came.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.shared.exchanges().clone()
    }

    /// How many requests there were: where [`Front::since`] begins.
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

    /// Bytes of all downloads so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Front {
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
