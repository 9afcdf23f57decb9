//! The gateway: what anybody may pull is served at its skylink too, from the same files.
//!
//! A skylink says nothing of a digest, so that the way back is kept in `records`: a small file for each piece of content,
//! named by the root of its base sector; beside them, which skyfiles have a data sector (`holders`), and fanouts that the
//! registry has no other use for (`fanouts`). That is a view of the journal like the index, made by `follow`, which goes on
//! where it was (`state`), out of what `learn` finds; it is safe to delete. A base sector is made when it is asked for
//! (`made`); the others, and the content, are bytes of the content store.
//!
//! Nothing here is a place where content is kept: what is not on this node's disk is not fetched for the gateway, and its
//! answers say what they come from, so that no registry takes it for a portal.

mod fanouts;
mod files;
mod follow;
mod holders;
mod learn;
mod made;
mod records;
mod state;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;

use portal::SectorSource;
use skynet_formats::profile::Profile;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::service::Registry;
use made::Made;
use records::Records;

/// What is served at skylinks.
#[derive(Clone, Debug)]
pub struct Gateway {
    registry: Arc<Registry>,
    records: Records,
    profile: Profile,
    journal: String,
    /// Content that was looked at to record it.
    #[cfg(test)]
    looked_at: Arc<std::sync::atomic::AtomicU64>,
}

impl Gateway {
    /// Opens the records in `directory`, made if need be. Their skylinks are those of the profile; they are of the journal
    /// with this id. Blocks.
    pub fn open(registry: Arc<Registry>, directory: &Path, profile: Profile, journal: String) -> io::Result<Self> {
        let records = Records::open(directory, profile)?;
        Ok(Gateway {
            registry,
            records,
            profile,
            journal,
            #[cfg(test)]
            looked_at: Arc::default(),
        })
    }

    /// What a portal's HTTP serves. Called within a runtime.
    pub fn source(&self) -> Arc<dyn SectorSource> {
        Arc::new(Made::new(self.clone(), Handle::current()))
    }

    /// Keeps the records up with the journal until `stop`. One at a time.
    pub async fn follow(self, stop: CancellationToken) {
        follow::follow(&self, &stop).await;
    }
}
