//! Reading a range of a file, block by block: which block comes next, and whether it is the right one.

use std::ops::Range;

use crate::unixfs;
use crate::{Cid, Codec, LEAF, shape};

/// The next block of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An inner node. The walk goes on when [`Walk::enter`] has had its bytes.
    Node(Cid),
    /// A leaf.
    Leaf {
        /// Its CID.
        cid: Cid,
        /// Its length in bytes.
        length: u64,
        /// The bytes of it that belong to the range.
        wanted: Range<usize>,
    },
}

/// Why a block is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// Its bytes have another hash than its CID.
    #[error("the bytes of the block {0} are not those that its CID names")]
    OtherBytes(Cid),
    /// It is no node of a file of this length, though it has the right hash: the address was wrong.
    #[error("the block {0} is not a node of a file of that length in the profile")]
    OtherShape(Cid),
}

/// Goes through the blocks of a range in order. It keeps the links of one node a level.
#[derive(Clone, Debug)]
pub struct Walk {
    range: Range<u64>,
    /// What is to be visited, the next one last.
    pending: Vec<Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    cid: Cid,
    /// Levels of nodes above the leaves.
    level: u32,
    /// The offset of its first byte in the file.
    start: u64,
    length: u64,
}

impl Pending {
    fn overlaps(&self, range: &Range<u64>) -> bool {
        !range.is_empty() && self.start < range.end && range.start < self.start + self.length
    }
}

impl Walk {
    /// A walk over a range of a file of this length, which must lie within it.
    pub fn new(root: Cid, length: u64, range: Range<u64>) -> Self {
        let root = Pending { cid: root, level: shape::height(length), start: 0, length };
        let pending = if root.overlaps(&range) { vec![root] } else { Vec::new() };
        Walk { range, pending }
    }

    /// The next block; `None` at the end. A node is next until it was entered.
    pub fn step(&mut self) -> Result<Option<Step>, WalkError> {
        let Some(next) = self.pending.last().copied() else { return Ok(None) };
        let codec = if next.level == 0 { Codec::Raw } else { Codec::DagPb };
        if next.cid.codec() != codec {
            return Err(WalkError::OtherShape(next.cid));
        }
        if next.level > 0 {
            return Ok(Some(Step::Node(next.cid)));
        }
        self.pending.pop();
        let wanted = self.range.start.max(next.start)..self.range.end.min(next.start + next.length);
        let wanted = (wanted.start - next.start) as usize..(wanted.end - next.start) as usize;
        Ok(Some(Step::Leaf { cid: next.cid, length: next.length, wanted }))
    }

    /// Goes into the node that is next.
    pub fn enter(&mut self, block: &[u8]) -> Result<(), WalkError> {
        let Some(node) = self.pending.last().copied().filter(|node| node.level > 0) else { return Ok(()) };
        if !node.cid.is_of(block) {
            return Err(WalkError::OtherBytes(node.cid));
        }
        let parts = unixfs::parts(block).map_err(|_| WalkError::OtherShape(node.cid))?;
        let lengths = parts.iter().map(|part| part.length);
        if !lengths.eq(shape::part_lengths(node.level, node.length)) {
            return Err(WalkError::OtherShape(node.cid));
        }
        self.pending.pop();
        let full = shape::capacity(node.level - 1);
        let below = parts.iter().zip(0..).map(|(part, number)| {
            let start = node.start + number * full;
            Pending { cid: part.cid, level: node.level - 1, start, length: part.length }
        });
        let first = self.pending.len();
        self.pending.extend(below.filter(|part| part.overlaps(&self.range)));
        self.pending[first..].reverse();
        Ok(())
    }
}

/// True if these are the bytes of a leaf of this length.
pub fn is_leaf(cid: &Cid, length: u64, block: &[u8]) -> bool {
    block.len() as u64 == length && length <= LEAF && cid.is_of(block)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::unixfs::{Part, join};
    use crate::{Block, file};

    fn sample(length: usize) -> Vec<u8> {
        (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
    }

    fn by_cid(blocks: Vec<Block>) -> HashMap<Cid, Vec<u8>> {
        blocks.into_iter().map(|block| (block.cid, block.bytes)).collect()
    }

    /// The bytes of a range, and how many nodes it took.
    fn read(root: Part, blocks: &HashMap<Cid, Vec<u8>>, range: Range<u64>) -> Result<(Vec<u8>, usize), WalkError> {
        let (mut walk, mut bytes, mut nodes) = (Walk::new(root.cid, root.length, range), Vec::new(), 0);
        while let Some(step) = walk.step()? {
            match step {
                Step::Node(cid) => {
                    nodes += 1;
                    walk.enter(&blocks[&cid])?;
                }
                Step::Leaf { cid, length, wanted } => {
                    assert!(is_leaf(&cid, length, &blocks[&cid]));
                    bytes.extend_from_slice(&blocks[&cid][wanted]);
                }
            }
        }
        Ok((bytes, nodes))
    }

    #[test]
    fn ranges_are_exact_and_skip_what_they_do_not_need() {
        let content = sample(3 * LEAF as usize + 77);
        let (root, blocks) = file::blocks(&content);
        let blocks = by_cid(blocks);
        for (range, nodes) in [(0..0, 0), (5..5, 0), (0..1, 1), (0..root.length, 1), (LEAF - 1..LEAF + 1, 1)] {
            let expected = content[range.start as usize..range.end as usize].to_vec();
            assert_eq!(read(root, &blocks, range.clone()).unwrap(), (expected, nodes), "{range:?}");
        }
    }

    #[test]
    fn a_second_level_is_entered_where_the_range_is() {
        // All leaves are equal, and so are all full nodes.
        let leaf = vec![7; LEAF as usize];
        let cid = Cid::of(Codec::Raw, &leaf);
        let (mut builder, mut blocks) = (file::Builder::new(), vec![Block { cid, bytes: leaf }]);
        for _ in 0..2 * 1024 + 3 {
            builder.push(cid, LEAF, &mut blocks);
        }
        let root = builder.finish(&mut blocks);
        let blocks = by_cid(blocks);
        let end = root.length;
        let (bytes, nodes) = read(root, &blocks, end - LEAF - 1..end).unwrap();
        assert_eq!((bytes.len() as u64, nodes), (LEAF + 1, 2));
        assert_eq!(read(root, &blocks, 1024 * LEAF - 1..1024 * LEAF + 1).unwrap(), (vec![7, 7], 3));
    }

    #[test]
    fn a_node_of_another_shape_is_refused() {
        let (root, blocks) = file::blocks(&sample(2 * LEAF as usize + 5));
        let node = blocks.last().unwrap();
        let walk = |root: Cid, length| Walk::new(root, length, 0..length);
        // Other bytes, another length, a node where a leaf belongs, and a leaf where a node belongs.
        let mut changed = node.bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(walk(root.cid, root.length).enter(&changed), Err(WalkError::OtherBytes(root.cid)));
        assert_eq!(walk(root.cid, root.length - 1).enter(&node.bytes), Err(WalkError::OtherShape(root.cid)));
        assert_eq!(walk(root.cid, 5).step(), Err(WalkError::OtherShape(root.cid)));
        assert_eq!(walk(blocks[0].cid, 2 * LEAF).step(), Err(WalkError::OtherShape(blocks[0].cid)));
        // A chain of nodes with one part each is refused at once, so that no walk is deeper than its length needs.
        let (chain, block) = join(&[root]);
        assert_eq!(walk(chain.cid, root.length).enter(&block.bytes), Err(WalkError::OtherShape(chain.cid)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_range_gives_its_bytes(
            length in 0..4 * LEAF,
            a in any::<prop::sample::Index>(),
            b in any::<prop::sample::Index>(),
        ) {
            let content = sample(length as usize);
            let (a, b) = (a.index(length as usize + 1), b.index(length as usize + 1));
            let range = a.min(b)..a.max(b);
            let (root, blocks) = file::blocks(&content);
            let (bytes, _) = read(root, &by_cid(blocks), range.start as u64..range.end as u64).unwrap();
            prop_assert!(bytes == content[range]);
        }
    }
}
