//! What a portal does with registry entries, free of HTTP.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use skynet_formats::entry::{EntryId, Refusal, SignedEntry};
use skynet_formats::resolver::{ResolveError, Resolved, resolve};
use skynet_formats::skylink::Skylink;
use tokio::task::spawn_blocking;

use crate::Portal;
use crate::entries::{EntryStoreError, Put};
use crate::read_only::ReadOnly;

/// Why an entry was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PutEntryError {
    /// A gateway has no entries.
    #[error(transparent)]
    ReadOnly(#[from] ReadOnly),
    /// One stands that is as good or better.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] EntryStoreError),
}

/// Why a skylink does not resolve here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveLinkError {
    /// An entry on the way is not here. In skyd's words for a network where not every host answered, which the tests of
    /// skynet-js expect.
    #[error("registry entry not found within given time")]
    Unknown(EntryId),
    /// The last of these entries says that there is nothing any more.
    #[error("{}", ResolveError::Deleted)]
    Deleted(Vec<SignedEntry>),
    /// The entries lead nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] EntryStoreError),
}

impl Portal {
    /// The entry that stands under an id; if none does, the best one that peers have, unless `only_here`.
    pub(crate) async fn entry(&self, id: EntryId, only_here: bool) -> Result<Option<SignedEntry>, EntryStoreError> {
        let Ok(stores) = self.stores() else { return Ok(None) };
        let entries = Arc::clone(&stores.entries);
        let here = spawn_blocking(move || entries.get(&id)).await??;
        let Some(peers) = self.peers().filter(|_| here.is_none() && !only_here) else { return Ok(here) };
        let Some(found) = peers.entry(id).await else { return Ok(None) };
        let (entries, entry) = (Arc::clone(&stores.entries), found.clone());
        match spawn_blocking(move || entries.put(&entry)).await? {
            Ok(Put::Stored { .. }) => Ok(Some(found)),
            // Another one came meanwhile.
            Ok(Put::Refused { standing, .. }) => Ok(Some(standing)),
            Err(error) => {
                // It is what was asked for, whether or not there is room for it.
                tracing::warn!(entry.id = %id, %error, "an entry of a peer could not be stored");
                Ok(Some(found))
            }
        }
    }

    /// Takes entries, one after the other until one is refused; those before it stay. One that says the same as the entry
    /// that stands is taken, as clients repeat what they got no answer to. What was new goes to peers, unless `only_here`.
    pub(crate) async fn put_entries(&self, signed: Vec<SignedEntry>, only_here: bool) -> Result<(), PutEntryError> {
        let stores = self.stores()?;
        let entries = Arc::clone(&stores.entries);
        let put_all = move |stored: &mut Vec<SignedEntry>| {
            for entry in &signed {
                match entries.put(entry)? {
                    Put::Stored { .. } => stored.push(entry.clone()),
                    Put::Refused { refusal: Refusal::SameContent, .. } => {}
                    Put::Refused { refusal, .. } => return Err(refusal.into()),
                }
            }
            Ok(())
        };
        let putting = spawn_blocking(move || {
            let mut stored = Vec::new();
            let result = put_all(&mut stored);
            (stored, result)
        });
        let (stored, result) = putting.await.map_err(EntryStoreError::from)?;
        if !only_here {
            for entry in &stored {
                stores.peers.spread(entry);
            }
        }
        result
    }

    /// Where a skylink leads, and over which entries: the proof. One of version 1 leads to itself.
    pub(crate) async fn resolve(&self, skylink: &Skylink) -> Result<Resolved, ResolveLinkError> {
        // The way is walked by the one function that also verifies proofs, over the entries found so far. It says which one
        // it needs next, until it has all; there are no more of them than it allows.
        let mut found: Vec<SignedEntry> = Vec::new();
        loop {
            let mut known = found.iter();
            match resolve(*skylink, |id| known.next().cloned().ok_or(ResolveLinkError::Unknown(id))) {
                Err(ResolveLinkError::Unknown(id)) => {
                    let entry = self.entry(id, false).await?;
                    found.push(entry.ok_or(ResolveLinkError::Unknown(id))?);
                }
                Err(ResolveLinkError::Resolve(ResolveError::Deleted)) => return Err(ResolveLinkError::Deleted(found)),
                end => return end,
            }
        }
    }
}
