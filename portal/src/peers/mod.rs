//! Peers: missing content is fetched from them, and entries are passed on to them.
//!
//! Peers are not trusted. Sectors are accepted if their bytes hash to the requested root, entries if their signature
//! and id are valid. Peers are asked only for their own content: a request with the header [`PEER_HEADER`] is answered
//! from local content, and its entries are not passed on. So peers cannot send requests in circles, and entries reach
//! every portal if each has all the others as peers.
//!
//! A local entry is served without asking peers for a newer one. So entries that a portal missed while it was down must
//! arrive without a request. They wait in the `outbox` of the portals that have them, and an `exchange` finds those
//! that an outbox lost.

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
pub use client::{InvalidPeer, is_peer_url};
pub(crate) use fetch::{Arrival, Fetch};
pub(crate) use fetch_error::FetchError;
pub(crate) use timing::Timing;

/// Lookups of entries at peers at once; further readers wait.
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
    /// Most bytes of content in a fetched skyfile.
    max_size: u64,
    /// Most bytes of metadata in a fetched skyfile.
    max_metadata: u64,
    flights: Flights,
}

impl Peers {
    /// The peers in the options; their entries and sectors go into these stores.
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
            max_metadata: options.max_metadata as u64,
            flights: Flights::default(),
        })))
    }

    /// True if there are no peers.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.peers.is_empty()
    }
}
