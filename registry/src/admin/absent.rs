//! What the catalog says of places elsewhere, beside the files that are here.

use super::fsck::held_by;
use crate::catalog::Placement;
use crate::catalog::command::Command;
use crate::oci::Digest;
use crate::service::{Error, Registry};

/// Repositories looked at in one go.
const BATCH: usize = 256;
/// Commands committed in one go.
const COMMANDS: usize = 256;

/// Content that is held and has no file here, although it was placed. What several repositories hold counts for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Absent {
    /// Pieces of content.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Counts it, until `stopped`. Blocks.
pub fn count_absent(registry: &Registry, stopped: impl Fn() -> bool) -> Result<Absent, Error> {
    let mut absent = Absent::default();
    for_each_held(registry, |digest| {
        if stopped() {
            return Ok(false);
        }
        if registry.store.stat(&digest)?.is_none() && !registry.catalog.placements(&digest)?.is_empty() {
            absent.count += 1;
            absent.bytes += registry.catalog.held_size(&digest)?.unwrap_or_default();
        }
        Ok(true)
    })?;
    Ok(absent)
}

/// Forgets the places of all content that has its file here, so that it is placed anew: at a backend that is known to
/// be empty. Places that are to be removed stay. Says how much it was. Blocks; to be called before anything is placed.
pub fn forget_places(registry: &Registry) -> Result<u64, Error> {
    let (mut commands, mut forgotten) = (Vec::new(), 0);
    for_each_held(registry, |digest| {
        if registry.store.stat(&digest)?.is_none() {
            return Ok(true);
        }
        let standing = registry.catalog.placements(&digest)?.into_iter().filter(|placement| !placement.unpin_pending);
        let before = commands.len();
        commands.extend(standing.map(|Placement { locator, sequence, .. }| {
            let digest = digest.clone();
            Command::RecordUnplaced { digest, locator, standing: sequence }
        }));
        forgotten += u64::from(commands.len() > before);
        if commands.len() >= COMMANDS {
            registry.catalog.commit_blocking(std::mem::take(&mut commands))?;
        }
        Ok(true)
    })?;
    if !commands.is_empty() {
        registry.catalog.commit_blocking(commands)?;
    }
    Ok(forgotten)
}

/// Until `look` says that it is enough.
fn for_each_held(registry: &Registry, mut look: impl FnMut(Digest) -> Result<bool, Error>) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = registry.catalog.repositories(after.as_deref(), BATCH)?;
        for name in &page.items {
            for digest in held_by(registry, name)? {
                if !look(digest)? {
                    return Ok(());
                }
            }
        }
        after = page.items.last().map(ToString::to_string);
        if !page.more {
            return Ok(());
        }
    }
}
