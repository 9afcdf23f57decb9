//! Skyfiles from here or, if they are missing, from peers.

use storage_backends::skynet::skylink::Skylink;

use crate::Portal;
use crate::skyfile::{OpenError, Skyfile};

impl Portal {
    /// Opens the skyfile of a v1 skylink; `None` if neither this portal nor, unless `only_here`, any peer has it.
    ///
    /// What comes from a peer is stored, unpinned: it is a cache, and a sweep takes it once nobody reads it.
    pub(crate) async fn open_skyfile(&self, skylink: &Skylink, only_here: bool) -> Result<Option<Skyfile>, OpenError> {
        let here = self.reader.open(skylink).await?;
        let Some(peers) = self.peers().filter(|_| !only_here) else { return Ok(here) };
        // One of which sectors are missing or damaged is as good as missing, and repaired in the same way.
        if let Some(skyfile) = here
            && self.reader.hold(&skyfile).await?
        {
            return Ok(Some(skyfile));
        }
        let Some(fetched) = peers.fetch(*skylink).await? else { return Ok(None) };
        let Some(skyfile) = self.reader.open(skylink).await? else { return Ok(None) };
        let whole = self.reader.hold(&skyfile).await?;
        // Until here, so that no sweep comes in between.
        drop(fetched);
        Ok(whole.then_some(skyfile))
    }

    /// Pins a v1 skylink, after fetching it if it is not here; `false` if no peer has it either. Durable when it returns.
    pub(crate) async fn pin(&self, skylink: &Skylink, only_here: bool) -> Result<bool, OpenError> {
        let skyfiles = &self.stores()?.skyfiles;
        // Open, its sectors stay until they are pinned.
        let Some(_skyfile) = self.open_skyfile(skylink, only_here).await? else { return Ok(false) };
        skyfiles.pin(skylink).await
    }
}
