//! What a portal does with registry entries, free of HTTP.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use storage_backends::skynet::entry::{EntryId, Refusal, SignedEntry};
use storage_backends::skynet::resolver::{ResolveError, Resolved, resolve};
use storage_backends::skynet::skylink::Skylink;
use tokio::task::spawn_blocking;

use crate::Portal;
use crate::entries::{EntryStoreError, Put};

/// Why an entry was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PutEntryError {
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
    /// An entry on the way is not here. In skyd's words.
    #[error("registry entry not found")]
    Unknown(EntryId),
    /// The entries lead nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] EntryStoreError),
}

impl Portal {
    /// The entry that stands under an id.
    pub(crate) async fn entry(&self, id: EntryId) -> Result<Option<SignedEntry>, EntryStoreError> {
        let entries = Arc::clone(&self.entries);
        spawn_blocking(move || entries.get(&id)).await?
    }

    /// Takes entries, one after the other until one is refused; those before it stay. One that says the same as the entry
    /// that stands is taken, as clients repeat what they got no answer to.
    pub(crate) async fn put_entries(&self, signed: Vec<SignedEntry>) -> Result<(), PutEntryError> {
        let entries = Arc::clone(&self.entries);
        let put_all = move || {
            for entry in &signed {
                match entries.put(entry)? {
                    Put::Stored { .. } | Put::Refused { refusal: Refusal::SameContent, .. } => {}
                    Put::Refused { refusal, .. } => return Err(refusal.into()),
                }
            }
            Ok(())
        };
        spawn_blocking(put_all).await.map_err(EntryStoreError::from)?
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
                    let entry = self.entry(id).await?;
                    found.push(entry.ok_or(ResolveLinkError::Unknown(id))?);
                }
                end => return end,
            }
        }
    }
}
