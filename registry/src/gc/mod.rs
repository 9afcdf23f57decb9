//! Collection: removes unreferenced blobs, files that no repository references, and idle upload sessions.
//!
//! Other code removes content, too: `content/remove` after a delete, and `placement/eviction` if portals have it.
//! `placement/unpin` removes copies at portals.
//!
//! Why it cannot take content that a client relies on:
//!
//! - Every manifest that was not deleted is a root, tagged or not. Collection takes a blob only if no manifest of its
//!   repository references it. The catalog's one writer checks that, in order with all manifest pushes.
//! - A client that was told that a blob exists (upload, mount, HEAD, GET) has the grace period from that answer on. The
//!   answer touches the blob *before* it looks. Collection marks the blob as being collected in the same table, under
//!   the digest's lock. So either the answer comes first, and the mark finds the blob young; or the answer waits for
//!   the lock and finds the blob gone.
//! - A client with an open upload session may be about to push a manifest, with blobs that it was told of when the
//!   session began or later. So sessions keep the blobs of their repository.
//! - Neither answers nor sessions keep a blob for ever. After seven grace periods (at least an hour) without a manifest
//!   it is overdue, and answers call it absent: its client pushes it again, which makes it new. A client that was told
//!   of it before still has the grace period from that answer on, or the session that it began within that time. A
//!   session keeps blobs for seven grace periods, too. The times are known in memory only, so a start of the node
//!   postpones the end.
//! - A file is removed only under its digest's lock, after a check that it is unreferenced. A push keeps that lock from
//!   the rename into the store until the reference is committed.

mod scrub;
mod sweep;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use scrub::scrub_forever;

use crate::catalog::command::Command;
use crate::oci::{Digest, RepositoryName};
use crate::service::{Error, Registry};
use crate::telemetry::labels::{Garbage, GarbageLabel};

/// Index entries read in one go.
const BATCH: usize = 256;

/// What a collection did, or with a dry run would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Blobs removed from their repository.
    pub blobs: u64,
    /// Bytes of these blobs. Content in several repositories counts once for each.
    pub bytes: u64,
    /// Unreferenced blobs that stay: their grace period goes on, or their repository has an open upload.
    pub kept: u64,
    /// Files of unreferenced content.
    pub files: u64,
    /// Idle upload sessions.
    pub uploads: u64,
}

/// Runs one collection. A second one waits for the first, since two would get in each other's way.
pub async fn collect(registry: &Arc<Registry>, dry_run: bool) -> Result<Collected, Error> {
    let _one_at_a_time = registry.collecting.lock().await;
    // Sessions first: an open session protects its repository, an expired one no longer does.
    let mut collected = Collected { uploads: registry.expire_uploads(dry_run).await?, ..Collected::default() };
    if !dry_run {
        registry.grace.begin_collection();
    }
    let mut after = None;
    loop {
        let from: Option<RepositoryName> = after.take();
        let page = registry
            .reading(move |catalog| Ok(catalog.repositories(from.as_ref().map(RepositoryName::as_str), BATCH)?))
            .await?;
        for repository in &page.items {
            collect_repository(registry, repository, dry_run, &mut collected).await?;
        }
        after = page.items.last().cloned();
        if !page.more {
            break;
        }
    }
    if !dry_run {
        registry.grace.end_collection();
    }
    collected.files += sweep::sweep(registry, dry_run).await?;
    if !dry_run {
        registry.content.sweep_unit_hashes().await?;
    }
    if !dry_run {
        registry.metrics.gc_runs.inc();
        let count = |kind, n| {
            registry.metrics.gc_collected.get_or_create(&GarbageLabel { kind }).inc_by(n);
        };
        count(Garbage::blob, collected.blobs);
        count(Garbage::upload, collected.uploads);
        registry.metrics.gc_collected_bytes.inc_by(collected.bytes);
    }
    Ok(collected)
}

async fn collect_repository(
    registry: &Arc<Registry>,
    repository: &RepositoryName,
    dry_run: bool,
    collected: &mut Collected,
) -> Result<(), Error> {
    let mut after: Option<Digest> = None;
    loop {
        let (name, from) = (repository.clone(), after.clone());
        let (unreferenced, last, more) = registry
            .reading(move |catalog| {
                let page = catalog.blobs(&name, from.as_ref(), BATCH)?;
                let mut unreferenced = Vec::new();
                let last = page.items.last().map(|(digest, _)| digest.clone());
                for (digest, size) in page.items {
                    if catalog.referring(&name, &digest, 1)?.is_empty() {
                        unreferenced.push((digest, size));
                    }
                }
                Ok((unreferenced, last, page.more))
            })
            .await?;
        for (digest, size) in unreferenced {
            if collect_blob(registry, repository, &digest, dry_run).await? {
                collected.blobs += 1;
                collected.bytes += size;
            } else {
                collected.kept += 1;
            }
        }
        after = last;
        if !more {
            return Ok(());
        }
    }
}

/// Checks, records and unlinks one blob under its lock; true if the blob was removed.
async fn collect_blob(
    registry: &Arc<Registry>,
    repository: &RepositoryName,
    digest: &Digest,
    dry_run: bool,
) -> Result<bool, Error> {
    if dry_run {
        return Ok(!registry.is_kept_by_session(repository, digest) && registry.grace.is_over(repository, digest));
    }
    registry.grace.found_unreferenced(repository, digest);
    let lock = registry.content.locks.lock(digest).await;
    if registry.is_kept_by_session(repository, digest) || !registry.grace.begin_collecting(repository, digest) {
        return Ok(false);
    }
    let command = Command::CollectBlob { repository: repository.clone(), digest: digest.clone() };
    let result = registry.catalog().commit(vec![command]).await;
    let removed = match &result {
        Ok(committed) if committed.orphaned.contains(digest) => {
            registry.content.remove_unreferenced(lock, digest).await.map(|_| ())
        }
        _ => Ok(()),
    };
    registry.grace.end_collecting(repository, digest);
    result?;
    removed?;
    // If a manifest came to reference the blob after it was listed, nothing was removed.
    Ok(registry.catalog().blob(repository, digest)?.is_none())
}
