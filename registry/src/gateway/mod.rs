//! The gateway: what anybody may pull is served at its skylink too, from the same files.
//!
//! A skylink says nothing of a digest, so that the way back is kept in `records`: a small file for each piece of content,
//! named by the root of its base sector. That is a view of the journal like the index, made by `follow` and safe to
//! delete. A base sector is made when it is asked for (`made`); the bytes behind it are those of the content store.
//!
//! Nothing here is a place where content is kept: what is not on this node's disk is not fetched for the gateway, and its
//! answers say what they come from, so that no registry takes it for a portal.

mod follow;
mod made;
mod records;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;

use portal::SectorSource;
use storage_backends::skynet::profile::{Profile, SectorSize};
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
}

impl Gateway {
    /// Opens the records in `directory`, made if need be. Their skylinks are those of the profile, which must suit; they
    /// are of the journal with this id. Blocks.
    pub fn open(registry: Arc<Registry>, directory: &Path, profile: Profile, journal: String) -> io::Result<Self> {
        Ok(Gateway { registry, records: Records::open(directory)?, profile, journal })
    }

    /// Whether skylinks of a profile can be served: its sectors must be the units whose roots are kept anyway.
    pub fn suits(profile: Profile) -> bool {
        profile.sector_size() == SectorSize::STANDARD && profile.data_pieces() == 1
    }

    /// What a portal's HTTP serves. Called within a runtime.
    pub fn source(&self) -> Arc<dyn SectorSource> {
        Arc::new(Made::new(Arc::clone(&self.registry), self.records.clone(), self.profile, Handle::current()))
    }

    /// Keeps the records up with the journal until `stop`. One at a time.
    pub async fn follow(self, stop: CancellationToken) {
        follow::follow(&self, &stop).await;
    }
}
