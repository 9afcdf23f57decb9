//! Other portals that this one works with: what is missing here is fetched from them, entries are passed on to them.
//!
//! Nobody is believed: sectors are taken if their bytes hash to the root asked for, entries if their signature and id are
//! right. Peers are asked for their own things only: a request with the header [`PEER_HEADER`] is answered from what is
//! there, and what it brings is not passed on. So peers cannot send each other in circles, and entries reach every portal
//! if each has all the others as peers.
//!
//! An entry that is here is served without asking anybody whether there is a newer one. So what a portal missed while it was
//! down must come by itself: it waits in the `outbox` of those that have it, and is found by an `exchange` where that was
//! lost.

mod client;
mod entries;
mod error;
mod exchange;
mod fetch;
mod fetch_error;
mod flights;
mod outbox;
mod race;
mod timing;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::PortalOptions;
use crate::entries::EntryStore;
use crate::sectors::SectorStore;
use client::Peer;
use flights::Flights;
use outbox::Outbox;

pub(crate) use client::PEER_HEADER;
pub use client::{InvalidPeer, PeerKey, is_peer_url};
pub(crate) use fetch::{Arrival, Fetch};
pub(crate) use fetch_error::FetchError;
pub(crate) use timing::Timing;

/// Entries that are being looked for at peers at once; further readers wait.
const ENTRY_LOOKUPS: usize = 64;

/// The peers of a portal. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Peers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    peers: Vec<Arc<Peer>>,
    outboxes: Vec<Arc<Outbox>>,
    timing: Timing,
    entry_lookups: Semaphore,
    entries: Arc<EntryStore>,
    sectors: SectorStore,
    /// Bytes of content of one skyfile that are fetched at most.
    max_size: u64,
    flights: Flights,
}

impl Peers {
    /// The peers that the options name; entries and sectors that they give go into these stores.
    pub(crate) fn new(
        options: &PortalOptions,
        entries: &Arc<EntryStore>,
        sectors: SectorStore,
        timing: Timing,
    ) -> Result<Self, InvalidPeer> {
        let client = client::http_client(&timing)?;
        let peers = options.peers.iter().map(|url| Peer::new(url, &options.peer_key, client.clone()).map(Arc::new));
        let peers: Vec<_> = peers.collect::<Result<_, _>>()?;
        let outbox = |peer: &Arc<Peer>| Arc::new(Outbox::new(Arc::clone(peer), Arc::clone(entries), timing.clone()));
        Ok(Peers(Arc::new(Shared {
            outboxes: peers.iter().map(outbox).collect(),
            peers,
            timing,
            entry_lookups: Semaphore::new(ENTRY_LOOKUPS),
            entries: Arc::clone(entries),
            sectors,
            max_size: options.max_upload,
            flights: Flights::default(),
        })))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.peers.is_empty()
    }
}
