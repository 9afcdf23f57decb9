//! `fsck`: reads the journal and all referenced content, and verifies them.

use std::sync::Arc;

use content_store::{StoreError, Verdict, full_speed};
use tokio::sync::mpsc;

use super::reply::Finding;
use super::{BATCH, Item, Output};
use crate::oci::Digest;
use crate::service::{Error, Registry};

/// Findings that wait to be sent.
const QUEUE: usize = 64;

/// True if nothing was wrong. Content that was quarantined counts as wrong, since it must be pushed again.
pub(super) async fn check(registry: &Arc<Registry>, repair: bool, out: &Output) -> Result<bool, Error> {
    let records = check_journal(registry).await?;
    let (sender, mut findings) = mpsc::channel(QUEUE);
    let worker = {
        let registry = Arc::clone(registry);
        tokio::task::spawn_blocking(move || check_content(&registry, &sender))
    };
    let (mut bad, mut put_aside) = (0u64, 0u64);
    while let Some(finding) = findings.recv().await {
        let fault = fault(&finding);
        out.item(Item::Finding(finding)).await;
        let Some((digest, list)) = fault else { continue };
        bad += 1;
        if repair && registry.content.put_aside(&digest).await?.is_some() {
            put_aside += 1;
            out.item(Item::Finding(Finding::PutAside { digest, list })).await;
        }
    }
    let (files, elsewhere) = worker.await??;
    out.item(Item::Checked { records, files, elsewhere, bad, put_aside }).await;
    Ok(bad == 0)
}

/// Digest of the damaged or missing content, and whether it is a list of unit roots. `None` for other findings.
fn fault(finding: &Finding) -> Option<(Digest, bool)> {
    match finding {
        Finding::Damaged { digest } | Finding::Missing { digest } | Finding::Unreadable { digest } => {
            Some((digest.clone(), false))
        }
        Finding::ListDamaged { digest } => Some((digest.clone(), true)),
        _ => None,
    }
}

async fn check_journal(registry: &Arc<Registry>) -> Result<u64, Error> {
    registry
        .reading(|catalog| {
            let mut facts = 0;
            for record in catalog.replay_state().map_err(|_| Error::Internal("the journal cannot be read"))? {
                record.map_err(|error| {
                    tracing::error!(%error, "the journal is damaged");
                    Error::Internal("the journal is damaged; stop the node and run `skyberth fsck`")
                })?;
                facts += 1;
            }
            Ok(facts)
        })
        .await
}

/// Verifies all referenced content. Content of several repositories is usually read once. Returns how much was read or is
/// missing, and how much is only elsewhere.
fn check_content(registry: &Registry, findings: &mpsc::Sender<Finding>) -> Result<(u64, u64), Error> {
    let (mut checked, mut elsewhere) = (0, 0);
    let mut seen: std::collections::HashSet<Digest> = std::collections::HashSet::new();
    let mut after = None;
    loop {
        let page = registry.catalog().repositories(after.as_deref(), BATCH)?;
        for name in &page.items {
            for digest in referenced_by(registry, name)? {
                // At this limit the set is cleared. Content of several repositories may then be read again, which costs
                // only time.
                if seen.len() >= 1_000_000 {
                    seen.clear();
                }
                if !seen.insert(digest.clone()) {
                    continue;
                }
                checked += 1;
                check_list(registry, &digest, findings)?;
                let name = digest.clone();
                let finding = match registry.store().verify(&digest, &mut full_speed) {
                    Ok(Verdict::Sound | Verdict::Interrupted) => continue,
                    Ok(Verdict::Corrupt) => Finding::Damaged { digest: name },
                    Ok(Verdict::Missing) if registry.is_placed(&digest)? => {
                        (checked, elsewhere) = (checked - 1, elsewhere + 1);
                        continue;
                    }
                    Ok(Verdict::Missing) => Finding::Missing { digest: name },
                    Err(StoreError::Io { .. }) => Finding::Unreadable { digest: name },
                    Err(error) => return Err(error.into()),
                };
                // Nothing is reported for content that was deleted after it was listed.
                if registry.catalog().is_referenced(&digest)? {
                    let _ = findings.blocking_send(finding);
                }
            }
        }
        after = page.items.last().map(ToString::to_string);
        if !page.more {
            break;
        }
    }
    strangers(registry, findings)?;
    Ok((checked, elsewhere))
}

/// Verifies the list of unit roots of referenced content, if there is one. A missing list is no fault: it is fetched
/// from the backend, or computed again from the content.
fn check_list(registry: &Registry, of: &Digest, findings: &mpsc::Sender<Finding>) -> Result<(), Error> {
    let Some(roots) = registry.catalog().unit_roots(of)? else { return Ok(()) };
    match registry.store().verify(&roots.list, &mut full_speed) {
        Ok(Verdict::Sound | Verdict::Interrupted) => {}
        Ok(Verdict::Corrupt) | Err(StoreError::Io { .. }) => {
            let _ = findings.blocking_send(Finding::ListDamaged { digest: roots.list });
        }
        Ok(Verdict::Missing) => {
            let _ = findings.blocking_send(Finding::ListMissing { digest: roots.list });
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Digests that a repository references; some may appear twice.
pub(super) fn referenced_by(registry: &Registry, name: &crate::oci::RepositoryName) -> Result<Vec<Digest>, Error> {
    let mut held = Vec::new();
    let mut after = None;
    loop {
        let page = registry.catalog().blobs(name, after.as_ref(), BATCH)?;
        held.extend(page.items.into_iter().map(|(digest, _)| digest));
        after = held.last().cloned();
        if !page.more {
            break;
        }
    }
    let mut after: Option<Digest> = None;
    loop {
        let page = registry.catalog().manifests(name, after.as_ref(), BATCH)?;
        after = page.items.last().map(|(digest, _)| digest.clone());
        held.extend(page.items.into_iter().map(|(digest, _)| digest));
        if !page.more {
            return Ok(held);
        }
    }
}

fn strangers(registry: &Registry, findings: &mpsc::Sender<Finding>) -> Result<(), Error> {
    let mut files = 0u64;
    for content in registry.store().walk() {
        match content {
            Ok(content) => files += u64::from(!registry.catalog().is_referenced(&content.digest)?),
            Err(StoreError::Stranger(path)) => {
                let _ = findings.blocking_send(Finding::Stranger { path: path.display().to_string() });
            }
            Err(error) => return Err(error.into()),
        }
    }
    if files > 0 {
        let _ = findings.blocking_send(Finding::Unreferenced { files });
    }
    Ok(())
}
