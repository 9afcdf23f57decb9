//! Proofs for bytes of sectors, without hashing a whole sector for each.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::Range;
#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skynet_formats::sector::SectorRoot;
use skynet_formats::sector_tree::SectorTree;
use tokio::sync::Semaphore;

use super::sectors::Sectors;
use crate::sectors::Sector;

/// Proofs that are made at once; each may have a sector in memory, and uses one core.
const MAX_PROOFS: usize = 4;

/// Trees in the cache, of at most 64 KiB each: enough for two chunks with the most data pieces that a skyfile can have.
const MAX_TREES: usize = 512;

/// The state for making proofs. A tree is made once, and used for all sections of a file until it is evicted.
#[derive(Debug)]
pub(super) struct Proofs {
    /// Held only while a proof is made, not while a slow client reads it.
    pub(super) permits: Arc<Semaphore>,
    trees: Mutex<Trees>,
    /// Number of sectors that were read and hashed whole.
    #[cfg(test)]
    hashed: AtomicU64,
}

#[derive(Debug, Default)]
struct Trees {
    by_root: HashMap<SectorRoot, Arc<SectorTree>>,
    /// The oldest first.
    order: VecDeque<SectorRoot>,
}

/// An open sector with its tree.
#[derive(Debug)]
pub(super) struct Provable {
    sector: Sector,
    tree: Arc<SectorTree>,
}

impl Default for Proofs {
    fn default() -> Self {
        let permits = Arc::new(Semaphore::new(MAX_PROOFS));
        Proofs {
            permits,
            trees: Mutex::default(),
            #[cfg(test)]
            hashed: AtomicU64::new(0),
        }
    }
}

impl Proofs {
    /// Opens a sector for proofs; `None` if it is missing. Blocks.
    pub(super) fn open(&self, sectors: &Sectors, root: &SectorRoot) -> io::Result<Option<Provable>> {
        let Some(sector) = sectors.open_sector(root)? else { return Ok(None) };
        let known = self.trees().by_root.get(root).map(Arc::clone);
        let tree = match known {
            Some(tree) => tree,
            None => self.make_tree(sectors, &sector, root)?,
        };
        Ok(Some(Provable { sector, tree }))
    }

    /// Two concurrent calls for one sector do the same work twice, which is rare and harmless.
    fn make_tree(&self, sectors: &Sectors, sector: &Sector, root: &SectorRoot) -> io::Result<Arc<SectorTree>> {
        let mut content = vec![0; sector.stored() as usize];
        sector.read_at(&mut content, 0)?;
        let tree = Arc::new(SectorTree::new(sectors.sector_size(), &content));
        #[cfg(test)]
        self.hashed.fetch_add(1, Ordering::Relaxed);
        if tree.root() != *root {
            tracing::error!(sector.root = %root, "a sector is damaged");
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.trees().keep(*root, &tree);
        Ok(tree)
    }

    /// The number of sectors that were hashed whole since the start.
    #[cfg(test)]
    pub(crate) fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
    }

    fn trees(&self) -> MutexGuard<'_, Trees> {
        // A tree that is in only one of the two collections is still found, or evicted.
        self.trees.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trees {
    fn keep(&mut self, root: SectorRoot, tree: &Arc<SectorTree>) {
        if self.by_root.insert(root, Arc::clone(tree)).is_some() {
            return;
        }
        self.order.push_back(root);
        if self.order.len() > MAX_TREES
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_root.remove(&oldest);
        }
    }
}

impl Provable {
    /// The proof of these bytes, which must be whole leaves.
    pub(super) fn prove(&self, bytes: &Range<usize>) -> io::Result<Vec<u8>> {
        self.tree.prove(bytes, |block| {
            let mut content = vec![0; block.len()];
            self.sector.read_at(&mut content, block.start as u64)?;
            Ok(content)
        })
    }

    /// Appends these bytes, which must be whole leaves, and their proof.
    pub(super) fn append_proven(&self, bytes: &Range<usize>, to: &mut Vec<u8>) -> io::Result<()> {
        let start = to.len();
        to.resize(start + bytes.len(), 0);
        self.sector.read_at(&mut to[start..], bytes.start as u64)?;
        to.extend_from_slice(&self.prove(bytes)?);
        Ok(())
    }

    /// The root stored at this offset.
    pub(super) fn root_at(&self, place: usize) -> io::Result<SectorRoot> {
        let mut root = [0; SectorRoot::SIZE];
        self.sector.read_at(&mut root, place as u64)?;
        Ok(SectorRoot::from_bytes(root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skynet_formats::profile::SectorSize;

    #[test]
    fn no_more_trees_are_kept_than_the_limit_and_the_oldest_go() {
        let tree = Arc::new(SectorTree::new(SectorSize::new(4096).unwrap(), b""));
        let root = |n: u32| SectorRoot::from_bytes(std::array::from_fn(|at| n.to_le_bytes()[at % 4]));
        let mut trees = Trees::default();
        for n in 0..2 * MAX_TREES as u32 {
            trees.keep(root(n), &tree);
            trees.keep(root(n), &tree);
            assert!(trees.by_root.len() <= MAX_TREES && trees.order.len() == trees.by_root.len());
        }
        assert!(!trees.by_root.contains_key(&root(0)) && trees.by_root.contains_key(&root(MAX_TREES as u32)));
    }
}
