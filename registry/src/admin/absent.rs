//! Compares the catalog's placements with the local files.

use super::fsck::referenced_by;
use crate::oci::Digest;
use crate::service::{Error, Registry};

/// Repositories read in one go.
const BATCH: usize = 256;

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
