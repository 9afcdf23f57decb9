//! Making the tree of a file, leaf by leaf, in bounded memory.

use crate::unixfs::{self, Part};
use crate::{Block, Cid, Codec, LEAF, MAX_LINKS};

/// Takes the leaves of a file in order, and gives its inner nodes as they become complete. It keeps at most
/// [`MAX_LINKS`] parts of each level.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    /// Parts that no node joins yet, from the leaves up.
    levels: Vec<Vec<Part>>,
}

impl Builder {
    /// A file without bytes so far.
    pub fn new() -> Self {
        Builder::default()
    }

    /// Adds the next leaf, of [`LEAF`] bytes if it is not the last. The nodes that it completes are appended.
    pub fn push(&mut self, leaf: Cid, length: u64, complete: &mut Vec<Block>) {
        debug_assert!(length <= LEAF, "a leaf of {length} bytes");
        let mut part = Part { cid: leaf, length, total: length };
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(part);
            if self.levels[level].len() < MAX_LINKS {
                return;
            }
            part = join(&mut self.levels[level], complete);
        }
    }

    /// The whole file, which is one leaf or a node. The nodes that are still missing are appended. Without any leaf it
    /// is the empty leaf, whose block is appended.
    pub fn finish(mut self, complete: &mut Vec<Block>) -> Part {
        if self.levels.is_empty() {
            let block = Block::of(Codec::Raw, Vec::new());
            let root = Part { cid: block.cid, length: 0, total: 0 };
            complete.push(block);
            return root;
        }
        for level in 0.. {
            let is_top = self.levels.len() == level + 1;
            if let (true, [root]) = (is_top, &self.levels[level][..]) {
                return *root;
            }
            if self.levels[level].is_empty() {
                continue;
            }
            let part = join(&mut self.levels[level], complete);
            if is_top {
                return part;
            }
            self.levels[level + 1].push(part);
        }
        unreachable!("the highest level has a part")
    }
}

fn join(parts: &mut Vec<Part>, complete: &mut Vec<Block>) -> Part {
    let (part, block) = unixfs::join(parts);
    parts.clear();
    complete.push(block);
    part
}

/// The tree of a file in memory: its root, and all its blocks, leaves among them.
pub fn blocks(bytes: &[u8]) -> (Part, Vec<Block>) {
    let mut builder = Builder::new();
    let mut blocks = Vec::new();
    for leaf in bytes.chunks(LEAF as usize) {
        let block = Block::of(Codec::Raw, leaf.to_vec());
        let cid = block.cid;
        blocks.push(block);
        builder.push(cid, leaf.len() as u64, &mut blocks);
    }
    let root = builder.finish(&mut blocks);
    (root, blocks)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// The root of the first `length` bytes of SHA-256(ASCII decimal length), repeated. Full leaves are equal, so they
    /// are hashed once.
    fn root_of_repeated(length: u64) -> String {
        let pattern: [u8; 32] = Sha256::digest(length.to_string()).into();
        let leaf = |length: u64| pattern.iter().copied().cycle().take(length as usize).collect::<Vec<u8>>();
        let full = Cid::of(Codec::Raw, &leaf(LEAF));
        let (mut builder, mut blocks) = (Builder::new(), Vec::new());
        for _ in 0..length / LEAF {
            builder.push(full, LEAF, &mut blocks);
        }
        if length % LEAF != 0 {
            builder.push(Cid::of(Codec::Raw, &leaf(length % LEAF)), length % LEAF, &mut blocks);
        }
        let root = builder.finish(&mut blocks);
        assert_eq!(root.length, length);
        root.cid.to_string()
    }

    /// Measured on kubo 0.43.1 with `cid-version=1&raw-leaves=true&chunker=size-1048576&max-file-links=1024`.
    #[test]
    fn roots_are_those_of_kubo() {
        for (length, root) in [
            (0, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
            (1_048_576, "bafkreib5cmfjek4b5llh5mx4ihrcqdklose2gnb7qcuaz6eao6agi24coa"),
            (1_048_577, "bafybeicsjyxn2qncxrywszrnylflribsb3vrevglyooyae6mgaekfqao6q"),
            (5_242_880, "bafybeicoglne4ka73a5bzj6kq7qqympqbozhiro7q4ga2ch7mjmverraf4"),
            (10_485_760, "bafybeicme56sxa2xyobr3whvr5rdszlvpln5pjz7n647rbklwofpocj2l4"),
            (209_715_200, "bafybeif3yftnxmr3s7vou24yo663etb75kepsandzoacv6g6t3l3eax6wi"),
            (1_073_741_824, "bafybeig4sm352rwm5ogk44o6gybtcm3ilkv6lwl3pzyzlyjlccp4wsahrq"),
            (1_073_741_825, "bafybeieieorvl4wltvxbsec7lyeqb3dw6xtck2indrve4zvqcstxzkx2mi"),
            (1_200_000_000, "bafybeicu5pp6mbaa2jx6lbws3di3g7kkkslo7l22xt7k2f2m2tysqz655a"),
        ] {
            assert_eq!(root_of_repeated(length), root, "{length}");
        }
    }

    #[test]
    fn three_levels_of_which_the_middle_one_is_empty_for_a_while() {
        let leaf = Cid::of(Codec::Raw, &[0; LEAF as usize]);
        let (mut builder, mut blocks) = (Builder::new(), Vec::new());
        for _ in 0..=MAX_LINKS * MAX_LINKS {
            builder.push(leaf, LEAF, &mut blocks);
            blocks.truncate(1);
        }
        blocks.clear();
        let root = builder.finish(&mut blocks);
        // The last leaf is as deep as all others.
        assert_eq!(blocks.len(), 3);
        assert_eq!(root.length, (1024 * 1024 + 1) * LEAF);
        let parts = unixfs::parts(&blocks[2].bytes).unwrap();
        assert_eq!(parts.iter().map(|part| part.length / LEAF).collect::<Vec<_>>(), [1024 * 1024, 1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_nodes_have_the_shape_that_the_length_says(leaves in 1u64..5000, last in 1..=LEAF) {
            let (mut builder, mut blocks) = (Builder::new(), Vec::new());
            for number in 1..=leaves {
                let length = if number == leaves { last } else { LEAF };
                builder.push(Cid::of(Codec::Raw, &number.to_le_bytes()), length, &mut blocks);
            }
            let root = builder.finish(&mut blocks);
            prop_assert_eq!(root.length, (leaves - 1) * LEAF + last);
            let level = crate::shape::height(root.length);
            prop_assert_eq!(root.cid.codec(), if level == 0 { Codec::Raw } else { Codec::DagPb });
            if let Some(block) = blocks.last() {
                let lengths: Vec<u64> = unixfs::parts(&block.bytes).unwrap().iter().map(|part| part.length).collect();
                prop_assert_eq!(lengths, crate::shape::part_lengths(level, root.length).collect::<Vec<_>>());
            }
        }
    }
}
