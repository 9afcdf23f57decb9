//! Fetching a skyfile that is not here: all of its sectors, each verified before it is stored, the base sector last.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use storage_backends::skynet::base_sector::{BaseSectorError, Body, parse};
use storage_backends::skynet::sector::SectorRoot;
use storage_backends::skynet::skylink::{Skylink, Target};
use tokio::task::{JoinError, spawn_blocking};

use super::Peers;
use super::client::Peer;
use super::error::PeerError;
use super::flights::Outcome;
use super::race::first_good;
use crate::sectors::{Batch, Held, SectorStore, StagedSector};

/// Sectors of one skyfile that are fetched at once, each in memory until it is verified.
const SECTORS_AT_ONCE: usize = 3;

/// A skyfile that was fetched. All of its sectors are durable and stay while this lives.
#[derive(Debug)]
pub(crate) struct Fetched {
    _held: [Held; 2],
}

/// Why a skyfile that some peer has could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// As many fetches wait as are allowed to.
    #[error("too many skyfiles are being fetched from peers, try again later")]
    Busy,
    /// What the skylink names is no skyfile.
    #[error(transparent)]
    Malformed(#[from] BaseSectorError),
    /// It is larger than any that this portal takes.
    #[error("the skyfile has {size} bytes, this portal takes {limit}")]
    TooLarge {
        /// Bytes of the content.
        size: u64,
        /// Most that are taken.
        limit: u64,
    },
    /// One of its sectors could not be had from any peer.
    #[error("no peer gives the sector {0} of the skyfile")]
    Incomplete(SectorRoot),
    /// The disk has no more room than what is reserved.
    #[error("the portal's disk is full")]
    DiskFull,
    /// The disk failed.
    #[error("cannot store a sector of a peer")]
    Io(#[source] io::Error),
    /// A step panicked, or the process ends.
    #[error("the fetch was aborted")]
    Aborted,
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FetchError::DiskFull,
            _ => FetchError::Io(error),
        }
    }
}

impl From<JoinError> for FetchError {
    fn from(_: JoinError) -> Self {
        FetchError::Aborted
    }
}

impl Peers {
    /// Fetches a skyfile and stores it, unpinned; `None` if no peer has it. All who ask meanwhile wait for the same fetch.
    pub(crate) async fn fetch(&self, skylink: Skylink) -> Outcome {
        let peers = self.clone();
        self.0.flights.join(skylink, async move { Fetch::new(peers).run(skylink).await.map_err(Arc::new) }).await
    }
}

/// One fetch.
struct Fetch {
    peers: Peers,
    asking: Mutex<Asking>,
}

/// Whom to ask, learned from sector to sector.
#[derive(Clone)]
struct Asking {
    /// The one that gave the last sector first; without those that misbehaved.
    order: Vec<usize>,
    /// Twice what the last sector took: before that it makes no sense to ask another peer too.
    stagger: Duration,
}

impl Fetch {
    fn new(peers: Peers) -> Self {
        let asking = Asking { order: (0..peers.0.peers.len()).collect(), stagger: peers.0.timing.stagger };
        Fetch { peers, asking: Mutex::new(asking) }
    }

    async fn run(&self, skylink: Skylink) -> Result<Option<Arc<Fetched>>, FetchError> {
        let Target::Sector { offset, fetch_size, root } = skylink.target() else { return Ok(None) };
        let size = self.sectors().sector_size();
        let Some(base) = self.ask(|peer| async move { peer.base_sector(skylink, root, size).await }).await else {
            return Ok(None);
        };
        let named = |at: u64| (base.len() as u64).min(at) as usize;
        let roots = self.data_roots(&base[named(offset)..named(offset + fetch_size)])?;
        let (held, missing) = hold(self.sectors().clone(), root, roots).await?;
        tracing::info!(%skylink, sectors = missing.len(), "fetching a skyfile from peers");
        let mut batch = self.sectors().batch();
        let mut fetched = stream::iter(missing).map(|root| self.sector(root)).buffer_unordered(SECTORS_AT_ONCE);
        while let Some((root, bytes)) = fetched.next().await {
            let Some(bytes) = bytes else {
                // What came so far is there when somebody tries again, if the sweep does not take it.
                spawn_blocking(move || batch.finish()).await??;
                return Err(FetchError::Incomplete(root));
            };
            batch = add(batch, self.sectors().clone(), root, bytes).await?;
        }
        // Last, so that whoever finds it finds the others too. A crash before the end leaves sectors that no pin reaches.
        batch = add(batch, self.sectors().clone(), root, base).await?;
        let stored = spawn_blocking(move || batch.finish()).await??;
        Ok(Some(Arc::new(Fetched { _held: [held, stored] })))
    }

    /// The sectors with content that a base sector lists, each once.
    fn data_roots(&self, base: &[u8]) -> Result<Vec<SectorRoot>, FetchError> {
        let parts = parse(base, self.sectors().sector_size())?;
        let (size, limit) = (parts.layout.file_size, self.peers.0.max_size);
        if size > limit {
            return Err(FetchError::TooLarge { size, limit });
        }
        let Body::Fanout(roots) = parts.body else { return Ok(Vec::new()) };
        let (chunk_roots, data_pieces) = (parts.layout.chunk_roots() as usize, usize::from(parts.layout.data_pieces));
        let chunks = roots.chunks(chunk_roots).map(|chunk| &chunk[..data_pieces]);
        let mut roots: Vec<_> = chunks.flatten().map(|root| SectorRoot::from_bytes(*root)).collect();
        // The order does not matter; the pieces behind the end of the content are all the same sector of zeros.
        roots.sort_unstable();
        roots.dedup();
        Ok(roots)
    }

    async fn sector(&self, root: SectorRoot) -> (SectorRoot, Option<Bytes>) {
        let size = self.sectors().sector_size();
        let begun = Instant::now();
        let bytes = self.ask(|peer| async move { peer.sector(root, size).await }).await;
        if bytes.is_some() {
            self.asking().stagger = self.peers.0.timing.stagger.max(2 * begun.elapsed());
        }
        (root, bytes)
    }

    /// What the first peer that gives something good gives.
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

    fn asking(&self) -> std::sync::MutexGuard<'_, Asking> {
        // Changed in single steps only.
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sectors(&self) -> &SectorStore {
        &self.peers.0.sectors
    }
}

/// Holds all sectors of a skyfile, and says which of them are not here, the base sector left out.
async fn hold(
    sectors: SectorStore,
    base: SectorRoot,
    roots: Vec<SectorRoot>,
) -> Result<(Held, Vec<SectorRoot>), FetchError> {
    let holding = spawn_blocking(move || {
        let mut held = sectors.hold();
        held.add(base);
        let mut missing = Vec::new();
        for root in roots {
            // Before the look: what is swept after it would be missed.
            held.add(root);
            if sectors.open_sector(&root)?.is_none() {
                missing.push(root);
            }
        }
        // Those that are here may be what an upload left that broke off before it synced their names.
        sectors.sync_names(held.roots())?;
        Ok((held, missing))
    });
    holding.await?
}

async fn add(mut batch: Batch, sectors: SectorStore, root: SectorRoot, bytes: Bytes) -> Result<Batch, FetchError> {
    let adding = spawn_blocking(move || {
        if !sectors.has_room()? {
            return Err(FetchError::DiskFull);
        }
        let mut sector = StagedSector::new(&sectors)?;
        sector.write_at(&bytes, 0)?;
        batch.add(sector, root)?;
        Ok(batch)
    });
    adding.await?
}
