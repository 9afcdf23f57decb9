//! Operations on registry entries, free of HTTP.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use skynet_formats::entry::{EntryId, Refusal, SignedEntry};
use skynet_formats::resolver::{ResolveError, Resolved, resolve};
use skynet_formats::skylink::Skylink;
use tokio::task::spawn_blocking;

use crate::Portal;
use crate::entries::{Client, EntryStoreError, Put};
use crate::read_only::ReadOnly;

/// Reasons why an entry was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PutEntryError {
    /// A gateway has no entries.
    #[error(transparent)]
    ReadOnly(#[from] ReadOnly),
    /// The current entry is as good or better.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] EntryStoreError),
}

/// Reasons why a skylink does not resolve here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveLinkError {
    /// An entry on the way is not here. The words are skyd's for a network where not every host answered, and tests of
    /// skynet-js expect them.
    #[error("registry entry not found within given time")]
    Unknown(EntryId),
    /// The last of these entries says that the target was removed.
    #[error("{}", ResolveError::Deleted)]
    Deleted(Vec<SignedEntry>),
    /// The entries lead nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] EntryStoreError),
}

/// The current entry of an id. If there is none, it is the best one that peers have, unless `only_here`.
/// Lookups at peers count against the rate of `address`, if there is one.
pub(crate) async fn read_entry(
    portal: &Portal,
    id: EntryId,
    address: Option<IpAddr>,
    only_here: bool,
) -> Result<Option<SignedEntry>, EntryStoreError> {
    let Ok(stores) = portal.stores() else { return Ok(None) };
    let entries = Arc::clone(&stores.entries);
    let here = spawn_blocking(move || entries.get(&id)).await??;
    let Some(peers) = portal.peers().filter(|_| here.is_none() && !only_here) else { return Ok(here) };
    if let Some(address) = address {
        let taken = stores.lookups.take(address, 1, Instant::now());
        taken.map_err(|wait| EntryStoreError::TooManyLookups { wait })?;
    }
    let Some(found) = peers.entry(id).await else { return Ok(None) };
    let (entries, entry) = (Arc::clone(&stores.entries), found.clone());
    match spawn_blocking(move || entries.put(&entry)).await? {
        Ok(Put::Stored { .. }) => Ok(Some(found)),
        // Another entry arrived meanwhile.
        Ok(Put::Refused { standing, .. }) => Ok(Some(standing)),
        Err(error) => {
            // It is the requested entry, whether or not it can be stored.
            tracing::warn!(entry.id = %id, %error, "an entry of a peer could not be stored");
            Ok(Some(found))
        }
    }
}

/// Stores entries, one after the other until one is refused; those before it stay. An entry equal to the current
/// one is accepted, because clients repeat requests that got no answer. New entries count as those of `client`, and
/// go to peers unless `only_here`.
pub(crate) async fn put_entries(
    portal: &Portal,
    signed: Vec<SignedEntry>,
    client: Option<Client>,
    only_here: bool,
) -> Result<(), PutEntryError> {
    let stores = portal.stores()?;
    let entries = Arc::clone(&stores.entries);
    let put_all = move |stored: &mut Vec<SignedEntry>| {
        for entry in &signed {
            match entries.put_by(entry, client.as_ref())? {
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

/// The target of a skylink, with the entries that lead to it: the proof. A skylink of version 1 resolves to itself.
/// Lookups at peers count against the rate of `address`, if there is one.
pub(crate) async fn resolve_link(
    portal: &Portal,
    skylink: &Skylink,
    address: Option<IpAddr>,
) -> Result<Resolved, ResolveLinkError> {
    // The function that also verifies proofs follows the entries found so far. It names the next entry it needs,
    // until it has all; it limits their number.
    let mut found: Vec<SignedEntry> = Vec::new();
    loop {
        let mut known = found.iter();
        match resolve(*skylink, |id| known.next().cloned().ok_or(ResolveLinkError::Unknown(id))) {
            Err(ResolveLinkError::Unknown(id)) => {
                let entry = read_entry(portal, id, address, false).await?;
                found.push(entry.ok_or(ResolveLinkError::Unknown(id))?);
            }
            Err(ResolveLinkError::Resolve(ResolveError::Deleted)) => return Err(ResolveLinkError::Deleted(found)),
            end => return end,
        }
    }
}
