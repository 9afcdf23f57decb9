//! Opens and pins skyfiles of this portal, with missing sectors fetched from peers.

use std::io;
use std::sync::Arc;

use skynet_formats::skylink::Skylink;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use crate::Portal;
use crate::peers::Peers;
use crate::skyfile::{OpenError, Sectors, Skyfile, SkyfileContent};

impl Portal {
    /// Opens the skyfile of a v1 skylink; `None` if neither this portal nor any peer has it. With `only_here`, peers
    /// are not asked.
    ///
    /// If only a peer has it, the base sector is local when this returns. The other sectors are fetched when they are
    /// read, and a failed fetch is an error of the read. They are stored unpinned as a cache, and a sweep removes them
    /// when no reader needs them.
    pub(crate) async fn open_skyfile(&self, skylink: &Skylink, only_here: bool) -> Result<Option<Skyfile>, OpenError> {
        let here = self.reader.open(skylink).await?;
        let Some(peers) = self.peers() else { return Ok(here) };
        // A skyfile with missing or damaged sectors counts as missing, and is repaired in the same way.
        if let Some(skyfile) = here
            && self.reader.hold(&skyfile).await?
        {
            return Ok(Some(skyfile));
        }
        if only_here { Ok(None) } else { self.open_fetched(peers, skylink).await }
    }

    async fn open_fetched(&self, peers: &Peers, skylink: &Skylink) -> Result<Option<Skyfile>, OpenError> {
        let stores = self.stores()?;
        let Some((fetch, base)) = peers.fetch(*skylink).await? else { return Ok(None) };
        let sectors = Sectors::Fetched(stores.skyfiles.sectors().clone(), fetch);
        let Some(skyfile) = self.reader.open_from(sectors, skylink).await? else { return Ok(None) };
        self.reader.hold(&skyfile).await?;
        // Kept until here, so that no sweep comes in between.
        drop(base);
        if stores.skyfiles.is_pinned(skylink).await?
            && let Ok(place) = Arc::clone(&stores.repairs).try_acquire_owned()
        {
            drop(complete(skyfile.content().clone(), place));
        }
        Ok(Some(skyfile))
    }

    /// Pins a v1 skylink, after fetching its missing sectors; `false` if no peer has it either. Durable when it
    /// returns.
    pub(crate) async fn pin(&self, skylink: &Skylink, only_here: bool) -> Result<bool, OpenError> {
        let stores = self.stores()?;
        // While it is open, its sectors stay until they are pinned.
        let Some(skyfile) = self.open_skyfile(skylink, only_here).await? else { return Ok(false) };
        if skyfile.comes_from_peers() {
            let place = Arc::clone(&stores.pinnings).acquire_owned().await.map_err(io::Error::other)?;
            complete(skyfile.content().clone(), place).await.map_err(io::Error::from)??;
        }
        stores.skyfiles.pin(skylink).await
    }
}

/// Fetches all missing sectors, even after the waiting client has left: clients that gave up come again.
fn complete(skyfile: SkyfileContent, place: OwnedSemaphorePermit) -> JoinHandle<Result<(), OpenError>> {
    tokio::spawn(async move {
        let _place = place;
        let completed = skyfile.complete().await;
        completed
            .inspect_err(|error| tracing::warn!(skylink = %skyfile.skylink(), %error, "a skyfile stays incomplete"))
    })
}
