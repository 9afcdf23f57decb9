//! `rm`: the operator's DELETE. `registry.delete` limits only clients.

use std::sync::Arc;

use super::commands::BATCH;
use super::reply::Removed;
use super::{Item, Output, Target};
use crate::oci::{Digest, Reference, RepositoryName};
use crate::service::{Caller, Error, Registry};

pub(super) async fn remove(registry: &Arc<Registry>, target: Target, out: &Output) -> Result<(), Error> {
    let Target { repository, reference } = target;
    let (tag, digest, manifests) = match reference {
        None => (None, None, remove_all(registry, &repository).await?),
        Some(reference) => {
            registry.remove_manifest(&Caller::local(), &repository, &reference, None).await?;
            match reference {
                Reference::Tag(tag) => (Some(tag), None, 0),
                Reference::Digest(digest) => (None, Some(digest), 1),
            }
        }
    };
    tracing::info!(%repository, ?tag, ?digest, manifests, "removed by the operator");
    out.item(Item::Removed(Removed { repository, tag, digest, manifests })).await;
    Ok(())
}

/// Removes all manifests with their tags, and those pushed meanwhile. Blobs are left to a collection, since a push may
/// be about to need them. After a crash the same command removes the rest.
async fn remove_all(registry: &Arc<Registry>, repository: &RepositoryName) -> Result<u64, Error> {
    let name = repository.clone();
    if registry.reading(move |catalog| Ok(catalog.repository(&name)?)).await?.is_none() {
        return Err(Error::RepositoryUnknown);
    }
    let mut removed = 0;
    loop {
        let name = repository.clone();
        let page = registry.reading(move |catalog| Ok(catalog.manifests(&name, None, BATCH)?)).await?;
        if page.items.is_empty() {
            return Ok(removed);
        }
        for (digest, _) in page.items {
            removed += u64::from(remove_one(registry, repository, digest).await?);
        }
    }
}

/// Returns `false` if the manifest was already gone.
async fn remove_one(registry: &Arc<Registry>, repository: &RepositoryName, digest: Digest) -> Result<bool, Error> {
    match registry.remove_manifest(&Caller::local(), repository, &Reference::Digest(digest), None).await {
        Ok(()) => Ok(true),
        Err(Error::ManifestUnknown) => Ok(false),
        Err(error) => Err(error),
    }
}
