//! Places where a backend may have content although nothing in the catalog says so: an upload whose answer did not come, or
//! one that did not come back as it went. A small file each, until the content is placed, or is to be removed there.
//!
//! The files are not synced: they survive a killed process. After a power cut the backend may keep some bytes too many.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use super::{Remote, resume};
use crate::catalog::command::Command;
use crate::catalog::fact::Locator;
use crate::content::{Error, LocalContent};
use crate::fetch::{PLACE, place_file};
use crate::oci::Digest;

/// The content does not lack a place: what was noted of its uploads is done with. If nobody holds it any more, what the
/// backend may have is to be removed there.
pub(super) async fn settle(here: &LocalContent, remote: &Arc<Remote>, digest: &Digest) -> Result<(), Error> {
    let file = place_file(&remote.tokens, digest);
    let place = tokio::task::spawn_blocking(move || read(&file)).await.unwrap_or(None);
    if let Some(locator) = place {
        let catalog = &here.catalog;
        let command = Command::RecordAbandoned { digest: digest.clone(), locator: locator.clone() };
        catalog.commit(vec![command]).await?;
        let placements = catalog.placements(digest)?;
        let known = placements.iter().any(|placement| placement.locator.same_place(&locator));
        if !known && catalog.is_lacking(digest)?.is_some() {
            // It was pushed again this very moment: the next look places it.
            return Ok(());
        }
    }
    forget(remote, digest).await;
    Ok(())
}

/// Nothing of an upload is worth remembering any more.
pub(super) async fn forget(remote: &Arc<Remote>, digest: &Digest) {
    let (tokens, digest) = (remote.tokens.clone(), digest.clone());
    let forget = move || {
        resume::forget(&tokens, &digest);
        match fs::remove_file(place_file(&tokens, &digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%digest, %error, "a note of an upload cannot be removed");
            }
            _ => {}
        }
    };
    // It only fails where the process ends.
    let _ = tokio::task::spawn_blocking(forget).await;
}

/// What was noted of content that was placed or deleted since, and that nobody looks at any more. Answers what lacks a place
/// still: whoever forgets it would not learn that it was deleted.
pub(super) async fn settle_old(
    here: &LocalContent,
    remote: &Arc<Remote>,
    is_looked_at: impl Fn(&Digest) -> bool,
) -> Vec<Digest> {
    let tokens = remote.tokens.clone();
    let listed = tokio::task::spawn_blocking(move || kept(&tokens)).await;
    let Ok(Ok(digests)) = listed else {
        tracing::warn!("notes of earlier uploads cannot be listed");
        return Vec::new();
    };
    let mut lacking = Vec::new();
    for digest in digests.into_iter().filter(|digest| !is_looked_at(digest)) {
        if !matches!(here.catalog.is_lacking(&digest), Ok(None)) {
            lacking.push(digest);
        } else if let Err(error) = settle(here, remote, &digest).await {
            tracing::warn!(%digest, %error, "what an earlier upload left cannot be told");
        }
    }
    lacking
}

/// The digests that tokens or notes were kept for. Blocks.
pub(super) fn kept(directory: &Path) -> io::Result<Vec<Digest>> {
    let mut digests = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let name = name.to_str().map(|name| name.strip_suffix(PLACE).unwrap_or(name));
        digests.extend(name.and_then(Digest::from_file_name));
    }
    digests.sort();
    digests.dedup();
    Ok(digests)
}

/// A note that was cut off in the middle is none: nothing was sent before it was whole.
fn read(path: &Path) -> Option<Locator> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
