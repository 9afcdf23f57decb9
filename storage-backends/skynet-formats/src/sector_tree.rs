//! The upper part of a sector's Merkle tree, kept so that proofs need not hash the whole sector each time.

use std::io;
use std::ops::Range;

use super::profile::SectorSize;
use super::range_proof::{outside, subtrees};
use super::sector::{BLOCK_HEIGHT, BLOCK_LEAVES, BLOCK_SIZE, LEAF_SIZE, SectorRoot, node, subtree_root};

/// All hashes of a sector's tree from its blocks of 4 KiB upwards: 64 KiB for a sector of 4 MiB.
#[derive(Clone, Debug)]
pub struct SectorTree {
    size: SectorSize,
    /// The root is at 1, the children of `n` are at `2n` and `2n + 1`; the second half is the blocks.
    nodes: Vec<[u8; 32]>,
}

impl SectorTree {
    /// The tree of a sector, whose bytes are followed by zeros up to its size.
    pub fn new(size: SectorSize, sector: &[u8]) -> Self {
        let blocks = size.leaves() / BLOCK_LEAVES;
        let mut nodes = vec![[0; 32]; 2 * blocks];
        for (at, root) in nodes[blocks..].iter_mut().enumerate() {
            let start = sector.len().min(at * BLOCK_SIZE);
            let end = sector.len().min(start + BLOCK_SIZE);
            *root = subtree_root(&sector[start..end], BLOCK_LEAVES);
        }
        for at in (1..blocks).rev() {
            nodes[at] = node(&nodes[2 * at], &nodes[2 * at + 1]);
        }
        SectorTree { size, nodes }
    }

    /// The root of the sector.
    pub fn root(&self) -> SectorRoot {
        SectorRoot::from_bytes(self.nodes[1])
    }

    /// Proves these bytes of the sector, which must be whole leaves. At most the two blocks in which they begin and end
    /// are read.
    ///
    /// Errors: those of `read`, and [`io::ErrorKind::InvalidInput`] for a range that has no proof.
    pub fn prove(
        &self,
        bytes: &Range<usize>,
        mut read: impl FnMut(Range<usize>) -> io::Result<Vec<u8>>,
    ) -> io::Result<Vec<u8>> {
        let outside = outside(self.size, bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let mut proof = Vec::new();
        let mut block = (usize::MAX, Vec::new());
        for (first, height) in outside.into_iter().flat_map(subtrees) {
            if height >= BLOCK_HEIGHT {
                proof.extend_from_slice(&self.nodes[(self.size.leaves() + first) >> height]);
                continue;
            }
            let (number, leaf) = (first / BLOCK_LEAVES, first % BLOCK_LEAVES);
            if block.0 != number {
                block = (number, read(number * BLOCK_SIZE..(number + 1) * BLOCK_SIZE)?);
            }
            let content = block.1.get(leaf * LEAF_SIZE..).unwrap_or_default();
            let content = &content[..content.len().min(LEAF_SIZE << height)];
            proof.extend_from_slice(&subtree_root(content, 1 << height));
        }
        Ok(proof)
    }
}
