//! Compares the catalog's placements with the local files.

use super::fsck::referenced_by;
use crate::catalog::Placement;
use crate::catalog::command::Command;
use crate::oci::Digest;
use crate::service::{Error, Registry};

/// Repositories read in one go.
const BATCH: usize = 256;
/// Commands committed in one go.
const COMMANDS: usize = 256;

/// Content that is referenced and placed, but has no local file. Content of several repositories counts once for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Absent {
    /// Number of pieces of content.
    pub count: u64,
    /// Bytes of that content.
    pub bytes: u64,
}

/// Counts absent content until `stopped` says so. Blocks.
pub fn count_absent(registry: &Registry, stopped: impl Fn() -> bool) -> Result<Absent, Error> {
    let mut absent = Absent::default();
    for_each_referenced(registry, |digest| {
        if stopped() {
            return Ok(false);
        }
        if registry.store().stat(&digest)?.is_none() && !registry.catalog().placements(&digest)?.is_empty() {
            absent.count += 1;
            absent.bytes += registry.catalog().referenced_size(&digest)?.unwrap_or_default();
        }
        Ok(true)
    })?;
    Ok(absent)
}

/// Removes the placements of all content that has a local file, so that it is placed again. This serves a backend known
/// to be empty. Lists of unit roots are included if their file, or that of their content, is local. Placements that
/// wait for removal stay. Returns how many pieces of content were concerned. Blocks, and must run before anything is
/// placed.
pub fn forget_places(registry: &Registry) -> Result<u64, Error> {
    let (mut commands, mut forgotten) = (Vec::new(), 0);
    for_each_referenced(registry, |digest| {
        let content_is_here = registry.store().stat(&digest)?.is_some();
        let list = registry.catalog().unit_roots(&digest)?.map(|roots| roots.list);
        if content_is_here {
            forgotten += forget(registry, &digest, &mut commands)?;
        }
        if let Some(list) = list
            && (content_is_here || registry.store().stat(&list)?.is_some())
        {
            forgotten += forget(registry, &list, &mut commands)?;
        }
        if commands.len() >= COMMANDS {
            registry.catalog().commit_blocking(std::mem::take(&mut commands))?;
        }
        Ok(true)
    })?;
    if !commands.is_empty() {
        registry.catalog().commit_blocking(commands)?;
    }
    Ok(forgotten)
}

/// Returns 1 if there was a placement to remove, else 0.
fn forget(registry: &Registry, digest: &Digest, commands: &mut Vec<Command>) -> Result<u64, Error> {
    let before = commands.len();
    for Placement { locator, sequence, unpin_pending, .. } in registry.catalog().placements(digest)? {
        if !unpin_pending {
            commands.push(Command::RecordUnplaced { digest: digest.clone(), locator, standing: sequence });
        }
    }
    Ok(u64::from(commands.len() > before))
}

/// Calls `look` with all referenced content, until `look` returns false.
fn for_each_referenced(registry: &Registry, mut look: impl FnMut(Digest) -> Result<bool, Error>) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = registry.catalog().repositories(after.as_deref(), BATCH)?;
        for name in &page.items {
            for digest in referenced_by(registry, name)? {
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
