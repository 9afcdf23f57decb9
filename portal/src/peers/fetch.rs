//! Fetching the missing sectors of a skyfile, each when it is needed, verified before it is stored.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use skynet_formats::base_sector::parse;
use skynet_formats::sector::SectorRoot;
use skynet_formats::skylink::{Skylink, Target};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

use super::Peers;
use super::client::Peer;
use super::error::PeerError;
use super::fetch_error::FetchError;
use super::flights::{Flight, Wanted};
use super::race::first_good;
use crate::sectors::{Held, SectorStore, StagedSector};

impl Peers {
    /// Begins to fetch a skyfile. Its base sector is local, and kept while the second part of the result lives. `None`
    /// if no peer has it.
    pub(crate) async fn fetch(&self, skylink: Skylink) -> Result<Option<(Arc<Fetch>, Held)>, Arc<FetchError>> {
        let Target::Sector { root, .. } = skylink.target() else { return Ok(None) };
        // Before the check for the sector: a sector swept after the check would be missed.
        let mut held = self.0.sectors.hold();
        held.add(root);
        let fetch = Arc::new(Fetch::new(self.clone()));
        let is_here = fetch.begin(Wanted::Base(skylink), root)?.end().await?;
        Ok(is_here.then_some((fetch, held)))
    }
}

/// The source of missing sectors for one reader of a skyfile. Readers share fetches in flight.
#[derive(Debug)]
pub(crate) struct Fetch {
    peers: Peers,
    asking: Mutex<Asking>,
}

/// The peers to ask, learned from sector to sector.
#[derive(Clone, Debug)]
struct Asking {
    /// The peer that gave the last sector first; peers that misbehaved are left out.
    order: Vec<usize>,
    /// Twice the time of the last sector; earlier it is useless to ask another peer too.
    stagger: Duration,
}

/// A sector that is local, or in flight while this is kept.
#[derive(Debug)]
pub(crate) struct Arrival {
    root: SectorRoot,
    flight: Result<Arc<Flight>, Arc<FetchError>>,
}

impl Arrival {
    /// Waits until the sector is local.
    pub(crate) async fn wait(&self) -> Result<(), Arc<FetchError>> {
        match self.flight.clone()?.end().await? {
            true => Ok(()),
            false => Err(Arc::new(FetchError::Incomplete(self.root))),
        }
    }
}

impl Fetch {
    fn new(peers: Peers) -> Self {
        let asking = Asking { order: (0..peers.0.peers.len()).collect(), stagger: peers.0.timing.stagger };
        Fetch { peers, asking: Mutex::new(asking) }
    }

    /// Begins to fetch a sector listed in the base sector, if it is missing. The reader holds it meanwhile, so that no
    /// sweep removes it.
    pub(crate) fn sector(self: &Arc<Self>, root: SectorRoot) -> Arrival {
        Arrival { root, flight: self.begin(Wanted::Data(root), root) }
    }

    fn begin(self: &Arc<Self>, wanted: Wanted, root: SectorRoot) -> Result<Arc<Flight>, Arc<FetchError>> {
        let fetch = Arc::clone(self);
        Ok(self.peers.0.flights.join(wanted, async move { fetch.bring(wanted, root).await })?)
    }

    /// Stores a sector unless it is local; `false` if no peer has it.
    async fn bring(&self, wanted: Wanted, root: SectorRoot) -> Result<bool, FetchError> {
        let sectors = self.peers.0.sectors.clone();
        // Opening a damaged sector moves it to the quarantine, and it is repaired here.
        if spawn_blocking(move || sectors.open_sector(&root)).await??.is_some() {
            return Ok(true);
        }
        let room = self.peers.0.flights.room(wanted).await;
        let given = match wanted {
            Wanted::Base(skylink) => self.base(skylink, root).await?,
            Wanted::Data(_) => self.data(root).await,
        };
        let Some(bytes) = given else { return Ok(false) };
        store(self.peers.0.sectors.clone(), root, bytes, room).await?;
        Ok(true)
    }

    async fn base(&self, skylink: Skylink, root: SectorRoot) -> Result<Option<Bytes>, FetchError> {
        let size = self.peers.0.sectors.sector_size();
        let base = self.ask(|peer| async move { peer.base_sector(skylink, root, size).await }).await;
        base.as_deref().map(|base| self.check_base(skylink, base)).transpose()?;
        Ok(base)
    }

    async fn data(&self, root: SectorRoot) -> Option<Bytes> {
        let (size, begun) = (self.peers.0.sectors.sector_size(), Instant::now());
        let bytes = self.ask(|peer| async move { peer.sector(root, size).await }).await;
        if bytes.is_some() {
            self.asking().stagger = self.peers.0.timing.stagger.max(2 * begun.elapsed());
        } else {
            tracing::warn!(sector.root = %root, "no peer gives a sector of a skyfile that is read");
        }
        bytes
    }

    /// Refuses skyfiles that this portal does not fetch.
    fn check_base(&self, skylink: Skylink, sector: &[u8]) -> Result<(), FetchError> {
        let Target::Sector { offset, fetch_size, .. } = skylink.target() else { return Ok(()) };
        let within = |at: u64| (sector.len() as u64).min(at) as usize;
        let named = &sector[within(offset)..within(offset + fetch_size)];
        let layout = parse(named, self.peers.0.sectors.sector_size())?.layout;
        let (size, metadata, limit) = (layout.file_size, layout.metadata_size, self.peers.0.max_metadata);
        if metadata > limit {
            return Err(FetchError::MetadataTooLarge { size: metadata, limit });
        }
        tracing::info!(%skylink, size_bytes = size, "fetching a skyfile from peers");
        match self.peers.0.max_size {
            limit if size > limit => Err(FetchError::TooLarge { size, limit }),
            _ => Ok(()),
        }
    }

    /// The first good answer of a peer.
    async fn ask<T, F>(&self, request: impl Fn(Arc<Peer>) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, PeerError>>,
    {
        let Asking { order, stagger } = self.asking().clone();
        let (winner, good) = first_good(&order, stagger, |index| {
            let peer = Arc::clone(&self.peers.0.peers[index]);
            let answer = request(Arc::clone(&peer));
            async move { answer.await.inspect_err(|error| self.complain(index, &peer, error)) }
        })
        .await?;
        let order = &mut self.asking().order;
        if let Some(at) = order.iter().position(|index| *index == winner) {
            order[..=at].rotate_right(1);
        }
        Some(good)
    }

    fn complain(&self, index: usize, peer: &Peer, error: &PeerError) {
        if error.is_suspicious() {
            tracing::warn!(peer = peer.url(), %error, "a peer misbehaves");
            self.asking().order.retain(|other| *other != index);
        } else {
            tracing::debug!(peer = peer.url(), %error, "a peer gives no sector");
        }
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        // Every change is a single step, so a panic leaves it consistent.
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores a verified sector, durably: readers get it from there, and a pin may reach it. The permit stays until the
/// end, even if no reader waits any more.
async fn store(
    sectors: SectorStore,
    root: SectorRoot,
    bytes: Bytes,
    room: Option<OwnedSemaphorePermit>,
) -> Result<(), FetchError> {
    let storing = spawn_blocking(move || {
        let _room = room;
        let mut sector = StagedSector::new(&sectors, bytes.len() as u64)?;
        sector.write_at(&bytes, 0)?;
        let mut batch = sectors.batch();
        batch.add(sector, root)?;
        // A crash up to here, or later: a sector that no pin reaches, unless it replaces one that was lost.
        batch.finish()?;
        Ok(())
    });
    storing.await?
}
