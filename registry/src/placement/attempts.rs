//! Records where a backend may have content without a record in the catalog: after an upload whose answer was lost, or
//! that was not read back correctly. Each record is a small file, kept until the content is placed or its removal is
//! recorded.
//!
//! The files are not synced. They survive a killed process. After a power cut the backend may keep some unneeded bytes.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use super::{Remote, resume};
use crate::catalog::command::Command;
use crate::catalog::fact::Locator;
use crate::content::{Error, LocalContent};
use crate::fetch::{PLACE, place_file};
use crate::oci::Digest;

/// Settles the record of content that lacks no copy. If the content is unreferenced, a removal of what the backend may
/// have is recorded first.
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
            // It was pushed again just now. The next look places it.
            return Ok(());
        }
    }
    forget(remote, digest).await;
    Ok(())
}

/// Removes the record and the resume token of an upload.
pub(super) async fn forget(remote: &Arc<Remote>, digest: &Digest) {
    let (tokens, digest) = (remote.tokens.clone(), digest.clone());
    let forget = move || {
        resume::forget(&tokens, &digest);
        match fs::remove_file(place_file(&tokens, &digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%digest, %error, "the record of an upload cannot be removed");
            }
            _ => {}
        }
    };
    // This fails only while the process ends.
    let _ = tokio::task::spawn_blocking(forget).await;
}

/// Settles the records of content that was placed or deleted since and is not in the queue. Returns the content that
/// still lacks a copy. The caller must queue it, or its deletion would go unnoticed.
pub(super) async fn settle_old(
    here: &LocalContent,
    remote: &Arc<Remote>,
    is_looked_at: impl Fn(&Digest) -> bool,
) -> Vec<Digest> {
    let tokens = remote.tokens.clone();
    let listed = tokio::task::spawn_blocking(move || kept(&tokens)).await;
    let Ok(Ok(digests)) = listed else {
        tracing::warn!("records of earlier uploads cannot be listed");
        return Vec::new();
    };
    let mut lacking = Vec::new();
    for digest in digests.into_iter().filter(|digest| !is_looked_at(digest)) {
        if !matches!(here.catalog.is_lacking(&digest), Ok(None)) {
            lacking.push(digest);
        } else if let Err(error) = settle(here, remote, &digest).await {
            tracing::warn!(%digest, %error, "the record of an earlier upload cannot be settled");
        }
    }
    lacking
}

/// The digests with a token or an upload record. Blocks.
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

/// Reads a record. An incomplete one counts as missing, since nothing is sent before the record is complete.
fn read(path: &Path) -> Option<Locator> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
