//! The sweep: removes unreferenced files of the content store, left by crashes between a rename and its commit.

use std::sync::Arc;

use content_store::StoreError;
use tokio::sync::mpsc;

use crate::oci::Digest;
use crate::service::{Error, Registry};

/// Files found but not yet checked under their lock.
const QUEUE: usize = 64;

/// Walks the whole store; returns how many files were removed, or with a dry run would be.
pub(super) async fn sweep(registry: &Arc<Registry>, dry_run: bool) -> Result<u64, Error> {
    let (sender, mut found) = mpsc::channel(QUEUE);
    let (store, catalog) = (registry.store().clone(), registry.catalog().clone());
    let walk = tokio::task::spawn_blocking(move || -> Result<(), Error> {
        for content in store.walk() {
            let content = match content {
                Ok(content) => content,
                Err(StoreError::Stranger(path)) => {
                    tracing::warn!(path = %path.display(), "a foreign file lies in the content store and stays there");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if !catalog.is_referenced(&content.digest)? && sender.blocking_send(content.digest).is_err() {
                return Ok(());
            }
        }
        Ok(())
    });
    let mut swept = 0;
    while let Some(digest) = found.recv().await {
        swept += u64::from(take(registry, &digest, dry_run).await?);
    }
    walk.await??;
    Ok(swept)
}

async fn take(registry: &Arc<Registry>, digest: &Digest, dry_run: bool) -> Result<bool, Error> {
    if !dry_run {
        return Ok(registry.content.remove_if_unreferenced(digest).await?);
    }
    // A push may be between its rename and its commit.
    let _guard = registry.content.locks.lock(digest).await;
    Ok(!registry.catalog().is_referenced(digest)?)
}
