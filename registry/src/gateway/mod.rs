//! The gateway: serves public content at skylinks, from the content store's files.
//!
//! A skylink does not contain a digest, so `records` maps it back: a small file for each piece of content, named by the
//! root of its base sector. `sectors` lists which skyfiles contain a data sector. `fanouts` stores fanouts that only
//! the gateway needs. Together they are a view of the journal, like the index, and safe to delete. `follow` makes them
//! from what `learn` finds, and continues after a start from the recorded `state`. `made` builds a base sector on
//! request. The other sectors are bytes of the content store.
//!
//! The gateway keeps no copies. Content without a local file is not fetched for it. Its answers name their source, so
//! that no registry takes it for a portal.

mod fanouts;
mod files;
mod follow;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod learn;
mod made;
mod records;
mod sectors;
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

/// The records of content at skylinks, and the registry that they belong to.
#[derive(Clone, Debug)]
pub struct Gateway {
    registry: Arc<Registry>,
    records: Records,
    profile: Profile,
    journal: String,
    /// Number of times that content was examined for its record.
    #[cfg(test)]
    looked_at: Arc<std::sync::atomic::AtomicU64>,
}

impl Gateway {
    /// Opens the records in `directory`, which is created if it is missing. They belong to this profile, and to the
    /// journal with this id. Blocks.
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

    /// The source of sectors for a portal's HTTP server. Must be called within a runtime.
    pub fn source(&self) -> Arc<dyn SectorSource> {
        Arc::new(Made::new(self.clone(), Handle::current()))
    }

    /// Follows the journal until `stop`. The caller must not run it twice at once.
    pub async fn follow(self, stop: CancellationToken) {
        follow::follow(&self, &stop).await;
    }
}
