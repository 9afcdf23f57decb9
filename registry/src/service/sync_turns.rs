//! Turns of clients to sync the uploads that they append to.
//!
//! A chunk is durable before its answer. So a client that sends chunks of one byte costs a sync for each, and all
//! clients share one disk. One client has [`AT_ONCE`] turns; its other chunks wait for them, whatever its connections.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Syncs of one client at once. A client with parallel uploads hardly syncs two of them at the same time.
const AT_ONCE: usize = 2;

/// The turns of all clients that append now.
#[derive(Clone, Debug, Default)]
pub(super) struct SyncTurns(Arc<Mutex<HashMap<IpAddr, Arc<Turns>>>>);

/// The turns of one client. Its entry lives as long as a request that may need one.
#[derive(Debug)]
pub(super) struct ClientTurns {
    all: SyncTurns,
    client: IpAddr,
    turns: Arc<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    taken: Mutex<usize>,
    given_back: Condvar,
}

/// A turn. Dropping it lets the next chunk sync.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Turns);

impl SyncTurns {
    /// The turns of a client. IPv6 addresses of one network are one client.
    pub(super) fn of(&self, client: IpAddr) -> ClientTurns {
        let client = network(client);
        let turns = Arc::clone(self.lock().entry(client).or_default());
        ClientTurns { all: self.clone(), client, turns }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Arc<Turns>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientTurns {
    /// Waits for a turn. Blocks.
    pub(super) fn take(&self) -> Turn<'_> {
        let turns = &*self.turns;
        let mut taken = turns.lock();
        while *taken >= AT_ONCE {
            taken = turns.given_back.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken += 1;
        Turn(turns)
    }
}

impl Drop for ClientTurns {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        // The map's and this one.
        if Arc::strong_count(&self.turns) == 2 {
            all.remove(&self.client);
        }
    }
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.given_back.notify_one();
    }
}

/// The address, or the /64 of an IPv6 address.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A client with many connections synced a chunk on each of them at once.
    #[test]
    fn a_client_has_two_turns_whatever_its_connections() {
        let all = SyncTurns::default();
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for number in 0..32 {
                let turns = all.of(address(&format!("2001:db8::{number}")));
                let (running, most) = (&running, &most);
                scope.spawn(move || {
                    let _turn = turns.take();
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(1));
                    running.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!(most.into_inner() <= AT_ONCE);
        assert!(all.lock().is_empty(), "a client that has left keeps an entry");
    }

    #[test]
    fn clients_do_not_wait_for_each_other() {
        let all = SyncTurns::default();
        let one = all.of(address("192.0.2.1"));
        let _taken: Vec<Turn<'_>> = (0..AT_ONCE).map(|_| one.take()).collect();
        for other in ["192.0.2.2", "2001:db8::1", "127.0.0.2"] {
            drop(all.of(address(other)).take());
        }
        assert_eq!(all.lock().len(), 1);
    }
}
