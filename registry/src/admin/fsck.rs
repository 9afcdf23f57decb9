//! `fsck`: reads the journal and everything that is held, and compares it with what it should be.

use std::sync::Arc;

use content_store::{StoreError, Verdict, full_speed};
use tokio::sync::mpsc;

use super::Output;
use crate::oci::Digest;
use crate::service::{Error, Registry};

/// Findings that wait to be printed.
const QUEUE: usize = 64;
/// Entries of the index looked at in one go.
const BATCH: usize = 256;

enum Found {
    Bad {
        digest: Digest,
        how: &'static str,
    },
    /// A list of unit roots, which nobody has to push again.
    DamagedList(Digest),
    Note(String),
}

/// True if nothing was wrong: what was put aside is still to be pushed again.
pub(super) async fn check(registry: &Arc<Registry>, repair: bool, out: &Output) -> Result<bool, Error> {
    let facts = check_journal(registry).await?;
    out.line(format!("journal: {facts} records read, all sound")).await;
    let (sender, mut findings) = mpsc::channel(QUEUE);
    let worker = {
        let registry = Arc::clone(registry);
        tokio::task::spawn_blocking(move || check_content(&registry, &sender))
    };
    let (mut bad, mut aside) = (0u64, 0u64);
    while let Some(found) = findings.recv().await {
        match found {
            Found::Note(text) => out.line(text).await,
            Found::Bad { digest, how } => {
                bad += 1;
                out.line(format!("{digest}: {how}")).await;
                if repair && registry.put_aside(&digest).await?.is_some() {
                    aside += 1;
                    out.line(format!("{digest}: put aside; push it again to bring it back")).await;
                }
            }
            Found::DamagedList(list) => {
                bad += 1;
                out.line(format!("{list}: this list of unit roots is damaged; what it says is known elsewhere")).await;
                if repair && registry.put_aside(&list).await?.is_some() {
                    aside += 1;
                    out.line(format!("{list}: put aside; it comes back when it is needed")).await;
                }
            }
        }
    }
    let checked = worker.await.unwrap_or(Err(Error::Internal("the check panicked")))?;
    out.line(format!("content: {checked} files held, {bad} of them damaged or missing, {aside} put aside")).await;
    Ok(bad == 0)
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

/// Everything that some repository holds, each digest as often as it is held, but read once where it follows itself.
fn check_content(registry: &Registry, findings: &mpsc::Sender<Found>) -> Result<u64, Error> {
    let mut checked = 0;
    let mut seen: std::collections::HashSet<Digest> = std::collections::HashSet::new();
    let mut after = None;
    loop {
        let page = registry.catalog.repositories(after.as_deref(), BATCH)?;
        for name in &page.items {
            for digest in held_by(registry, name)? {
                // Bounded: past it content that several repositories hold is read again, which costs only time.
                if seen.len() >= 1_000_000 {
                    seen.clear();
                }
                if !seen.insert(digest.clone()) {
                    continue;
                }
                checked += 1;
                check_list(registry, &digest, findings)?;
                let how = match registry.store.verify(&digest, &mut full_speed) {
                    Ok(Verdict::Sound | Verdict::Interrupted) => continue,
                    Ok(Verdict::Corrupt) => "the file is damaged",
                    Ok(Verdict::Missing) if registry.is_placed(&digest)? => continue,
                    Ok(Verdict::Missing) => "the file is missing",
                    Err(StoreError::Io { .. }) => "the disk does not give the file",
                    Err(error) => return Err(error.into()),
                };
                // Not if it was deleted since it was listed.
                if registry.catalog.is_held(&digest)? {
                    let _ = findings.blocking_send(Found::Bad { digest, how });
                }
            }
        }
        after = page.items.last().map(ToString::to_string);
        if !page.more {
            break;
        }
    }
    strangers(registry, findings)?;
    Ok(checked)
}

/// The list of unit roots of content that is held, if it is known. That it is missing is no fault: it comes from the
/// backend, or is made again from the content.
fn check_list(registry: &Registry, of: &Digest, findings: &mpsc::Sender<Found>) -> Result<(), Error> {
    let Some(roots) = registry.catalog.unit_roots(of)? else { return Ok(()) };
    match registry.store.verify(&roots.list, &mut full_speed) {
        Ok(Verdict::Sound | Verdict::Interrupted) => {}
        Ok(Verdict::Corrupt) | Err(StoreError::Io { .. }) => {
            let _ = findings.blocking_send(Found::DamagedList(roots.list));
        }
        Ok(Verdict::Missing) => {
            let note = format!("{}: this list of unit roots is missing; it comes back when it is needed", roots.list);
            let _ = findings.blocking_send(Found::Note(note));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// What a repository holds, some of it perhaps twice.
pub(super) fn held_by(registry: &Registry, name: &crate::oci::RepositoryName) -> Result<Vec<Digest>, Error> {
    let mut held = Vec::new();
    let mut after = None;
    loop {
        let page = registry.catalog.blobs(name, after.as_ref(), BATCH)?;
        held.extend(page.items.into_iter().map(|(digest, _)| digest));
        after = held.last().cloned();
        if !page.more {
            break;
        }
    }
    let mut after: Option<Digest> = None;
    loop {
        let page = registry.catalog.manifests(name, after.as_ref(), BATCH)?;
        after = page.items.last().map(|(digest, _)| digest.clone());
        held.extend(page.items.into_iter().map(|(digest, _)| digest));
        if !page.more {
            return Ok(held);
        }
    }
}

fn strangers(registry: &Registry, findings: &mpsc::Sender<Found>) -> Result<(), Error> {
    let mut unheld = 0u64;
    for content in registry.store.walk() {
        match content {
            Ok(content) => unheld += u64::from(!registry.catalog.is_held(&content.digest)?),
            Err(StoreError::Stranger(path)) => {
                let _ =
                    findings.blocking_send(Found::Note(format!("{}: not a file of ours, left alone", path.display())));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if unheld > 0 {
        let _ = findings
            .blocking_send(Found::Note(format!("{unheld} files that nobody holds; `skyberth gc` removes them")));
    }
    Ok(())
}
