//! The Merkle root of a sector, computed while its bytes arrive (Sia's `crypto/merkle.go`): 64-byte leaves,
//! BLAKE2b-256.
//!
//! The crate `sia_core` has the same tree, only for whole sectors of 4 MiB. Here bytes arrive in any pieces, profiles
//! have other sector sizes, and the zeros that fill up a sector cost nothing. The test vectors are results of
//! `sia_core`.

mod level;

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use self::level::{hash_level, hash_one};
pub use super::profile::LEAF_SIZE;
use super::profile::SectorSize;

/// Leaves that are hashed together: enough for full SIMD width, and equal to the leaves of the smallest sector.
pub(super) const BLOCK_LEAVES: usize = 64;

pub(super) const BLOCK_SIZE: usize = BLOCK_LEAVES * LEAF_SIZE;

/// Height of the subtree over one block.
pub(super) const BLOCK_HEIGHT: usize = BLOCK_LEAVES.trailing_zeros() as usize;

/// Height of the tree over the largest sector.
const MAX_HEIGHT: usize = SectorSize::MAX_LEAVES.trailing_zeros() as usize;

/// Domain separation: the first byte hashed.
const LEAF: u8 = 0;
const NODE: u8 = 1;

type Hash = [u8; 32];

/// Roots of subtrees over zeros, by height.
static ZEROS: LazyLock<[Hash; MAX_HEIGHT + 1]> = LazyLock::new(|| {
    let mut roots = [hash_one(LEAF, &[0; LEAF_SIZE]); MAX_HEIGHT + 1];
    for height in 1..roots.len() {
        roots[height] = node(&roots[height - 1], &roots[height - 1]);
    }
    roots
});

/// The Merkle root of one sector.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SectorRoot([u8; 32]);

/// The text is not a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sector root: 64 lower-case hex digits")]
pub struct SectorRootError;

impl SectorRoot {
    /// Bytes of a root.
    pub const SIZE: usize = 32;

    /// A root with this hash.
    pub const fn from_bytes(hash: [u8; 32]) -> Self {
        SectorRoot(hash)
    }

    /// The hash of the root.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SectorRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for SectorRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SectorRoot({self})")
    }
}

impl FromStr for SectorRoot {
    type Err = SectorRootError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| SectorRootError)?;
        Ok(SectorRoot(bytes.try_into().map_err(|_| SectorRootError)?))
    }
}

impl TryFrom<String> for SectorRoot {
    type Error = SectorRootError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SectorRoot> for String {
    fn from(root: SectorRoot) -> String {
        root.to_string()
    }
}

/// Computes a sector's root from bytes in any pieces; missing bytes up to the sector's size count as zeros.
#[derive(Clone, Debug)]
pub struct SectorHasher {
    size: SectorSize,
    taken: usize,
    /// The incomplete block; its first `taken % BLOCK_SIZE` bytes are content.
    block: Box<[u8; BLOCK_SIZE]>,
    tree: Tree,
}

impl SectorHasher {
    /// A hasher of an empty sector.
    pub fn new(size: SectorSize) -> Self {
        SectorHasher { size, taken: 0, block: Box::new([0; BLOCK_SIZE]), tree: Tree::default() }
    }

    /// Bytes added so far.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// True if the sector is full.
    pub fn is_full(&self) -> bool {
        self.taken == self.size.bytes()
    }

    /// Adds bytes up to the end of the sector, and returns their number.
    #[must_use = "bytes beyond the sector are not taken"]
    pub fn update(&mut self, bytes: &[u8]) -> usize {
        let fits = bytes.len().min(self.size.bytes() - self.taken);
        let mut rest = &bytes[..fits];
        while !rest.is_empty() {
            let started = self.taken % BLOCK_SIZE;
            let step = rest.len().min(BLOCK_SIZE - started);
            let (now, later) = rest.split_at(step);
            if step == BLOCK_SIZE {
                self.tree.push(subtree(now, BLOCK_LEAVES), BLOCK_HEIGHT);
            } else {
                self.block[started..started + step].copy_from_slice(now);
                if started + step == BLOCK_SIZE {
                    self.tree.push(subtree(&self.block[..], BLOCK_LEAVES), BLOCK_HEIGHT);
                }
            }
            self.taken += step;
            rest = later;
        }
        fits
    }

    /// The root of the sector; the hasher is ready for the next one.
    pub fn finish(&mut self) -> SectorRoot {
        let mut tree = std::mem::take(&mut self.tree);
        let started = self.taken % BLOCK_SIZE;
        if started > 0 {
            tree.push(subtree(&self.block[..started], BLOCK_LEAVES), BLOCK_HEIGHT);
        }
        self.taken = 0;
        tree.fill_with_zeros(self.size.leaves());
        SectorRoot(tree.root())
    }
}

/// The root of a sector in memory. Shorter bytes count as followed by zeros; bytes beyond the sector's size are
/// ignored.
pub fn sector_root(size: SectorSize, bytes: &[u8]) -> SectorRoot {
    let mut hasher = SectorHasher::new(size);
    let _ = hasher.update(bytes);
    hasher.finish()
}

/// A Merkle tree growing from the left: the roots of its complete subtrees, the highest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    stack: Vec<(Hash, usize)>,
    leaves: usize,
}

impl Tree {
    /// Adds a subtree of that height on the right. It must start at a multiple of its own width.
    pub(super) fn push(&mut self, mut root: Hash, mut height: usize) {
        debug_assert!(self.leaves.is_multiple_of(1 << height), "a subtree stands at a multiple of its width");
        self.leaves += 1 << height;
        while let Some((left, _)) = self.stack.pop_if(|(_, other)| *other == height) {
            root = node(&left, &root);
            height += 1;
        }
        self.stack.push((root, height));
    }

    /// Adds zeros up to `leaves` leaves.
    fn fill_with_zeros(&mut self, leaves: usize) {
        while self.leaves < leaves {
            let height = subtree_height(self.leaves, leaves);
            self.push(ZEROS[height], height);
        }
    }

    /// The root of a tree over `2^n` leaves.
    pub(super) fn root(&self) -> Hash {
        debug_assert_eq!(self.stack.len(), 1, "the tree is complete");
        self.stack.first().map_or([0; 32], |(root, _)| *root)
    }
}

/// The height of the largest subtree that starts at leaf `start` and ends at or before `end`.
pub(super) fn subtree_height(start: usize, end: usize) -> usize {
    debug_assert!(start < end, "a subtree has leaves");
    start.trailing_zeros().min((end - start).ilog2()) as usize
}

/// The root of a subtree over `2^n` leaves, which begin with the bytes and continue with zeros.
pub(super) fn subtree_root(bytes: &[u8], leaves: usize) -> [u8; 32] {
    if leaves <= BLOCK_LEAVES {
        return subtree(bytes, leaves);
    }
    let mut tree = Tree::default();
    for block in bytes.chunks(BLOCK_SIZE) {
        tree.push(subtree(block, BLOCK_LEAVES), BLOCK_HEIGHT);
    }
    tree.fill_with_zeros(leaves);
    tree.root()
}

/// The root of a subtree of at most one block.
fn subtree(bytes: &[u8], leaves: usize) -> Hash {
    if bytes.is_empty() {
        return ZEROS[leaves.trailing_zeros() as usize];
    }
    let mut level = [[0; LEAF_SIZE]; BLOCK_LEAVES / 2];
    let mut width = leaves.div_ceil(2);
    match bytes.as_chunks() {
        (content, []) if content.len() == leaves => hash_level(LEAF, content, &mut level[..width]),
        _ => {
            let mut content = [[0; LEAF_SIZE]; BLOCK_LEAVES];
            content.as_flattened_mut()[..bytes.len()].copy_from_slice(bytes);
            hash_level(LEAF, &content[..leaves], &mut level[..width]);
        }
    }
    let mut nodes = leaves;
    while nodes > 1 {
        nodes /= 2;
        let mut above = [[0; LEAF_SIZE]; BLOCK_LEAVES / 4];
        width = nodes.div_ceil(2);
        hash_level(NODE, &level[..nodes], &mut above[..width]);
        level[..width].copy_from_slice(&above[..width]);
    }
    *level[0].first_chunk().expect("a block has two hashes")
}

pub(super) fn node(left: &Hash, right: &Hash) -> Hash {
    let mut pair = [0; LEAF_SIZE];
    pair[..32].copy_from_slice(left);
    pair[32..].copy_from_slice(right);
    hash_one(NODE, &pair)
}

#[cfg(test)]
pub(super) mod tests;
