//! Proofs that bytes belong to a sector: the roots of the subtrees to the left of them, then of those to the right.
//!
//! [`SectorTree`](super::sector_tree::SectorTree) makes them, and they are checked here. The order is that of siad's
//! `MerkleRangeProof` and of the trustless portal reads, which append it to the bytes.

use std::ops::Range;

use super::profile::SectorSize;
use super::sector::{LEAF_SIZE, SectorRoot, Tree, subtree_height, subtree_root};

/// The proof or the range is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeProofError {
    /// The range is not one or more whole leaves of 64 bytes inside the sector.
    #[error("a range proof is of whole 64-byte leaves inside the sector")]
    InvalidRange,
    /// The number of hashes does not fit the range.
    #[error("a range proof of the wrong length")]
    WrongLength,
    /// The bytes, the proof and the root do not match.
    #[error("the bytes are not those of the sector")]
    WrongRoot,
}

/// Checks that `bytes` are at `offset` in the sector with that root. The proof must not have unused hashes.
pub fn verify(
    size: SectorSize,
    root: &SectorRoot,
    offset: usize,
    bytes: &[u8],
    proof: &[u8],
) -> Result<(), RangeProofError> {
    let end = offset.checked_add(bytes.len()).ok_or(RangeProofError::InvalidRange)?;
    let leaves = leaves_of(size, &(offset..end))?;
    let (hashes, rest) = proof.as_chunks::<{ SectorRoot::SIZE }>();
    let mut hashes = hashes.iter();
    let mut tree = Tree::default();
    let mut take_outside = |tree: &mut Tree, outside: Range<usize>| {
        subtrees(outside).try_for_each(|(_, height)| {
            tree.push(*hashes.next().ok_or(RangeProofError::WrongLength)?, height);
            Ok(())
        })
    };
    take_outside(&mut tree, 0..leaves.start)?;
    for (first, height) in subtrees(leaves.clone()) {
        let start = first * LEAF_SIZE - offset;
        tree.push(subtree_root(&bytes[start..start + (LEAF_SIZE << height)], 1 << height), height);
    }
    take_outside(&mut tree, leaves.end..size.leaves())?;
    match hashes.next() {
        None if rest.is_empty() && tree.root() == *root.as_bytes() => Ok(()),
        None if rest.is_empty() => Err(RangeProofError::WrongRoot),
        _ => Err(RangeProofError::WrongLength),
    }
}

/// Length in bytes of the proof of a range.
pub fn proof_size(size: SectorSize, bytes: Range<usize>) -> Result<usize, RangeProofError> {
    Ok(outside(size, &bytes)?.into_iter().flat_map(subtrees).count() * SectorRoot::SIZE)
}

/// The leaves to the left of these bytes, and those to the right.
pub(super) fn outside(size: SectorSize, bytes: &Range<usize>) -> Result<[Range<usize>; 2], RangeProofError> {
    let leaves = leaves_of(size, bytes)?;
    Ok([0..leaves.start, leaves.end..size.leaves()])
}

fn leaves_of(size: SectorSize, bytes: &Range<usize>) -> Result<Range<usize>, RangeProofError> {
    let whole = bytes.start.is_multiple_of(LEAF_SIZE) && bytes.end.is_multiple_of(LEAF_SIZE);
    if !whole || bytes.is_empty() || bytes.end > size.bytes() {
        return Err(RangeProofError::InvalidRange);
    }
    Ok(bytes.start / LEAF_SIZE..bytes.end / LEAF_SIZE)
}

/// The largest subtrees that together cover the leaves, from the left: `(first leaf, height)`.
pub(super) fn subtrees(leaves: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let mut next = leaves.start;
    std::iter::from_fn(move || {
        (next < leaves.end).then(|| {
            let subtree = (next, subtree_height(next, leaves.end));
            next += 1 << subtree.1;
            subtree
        })
    })
}

#[cfg(test)]
mod tests;
