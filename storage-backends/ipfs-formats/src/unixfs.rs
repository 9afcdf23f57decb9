//! Inner nodes of a file: links to its parts in order, with the length of each.
//!
//! `Data { DataType Type = 1 (File = 2); uint64 filesize = 3; repeated uint64 blocksizes = 4 }` as the data of a dag-pb
//! node. Leaves are raw blocks without any of it.

use crate::dag_pb::{self, Link, take_number};
use crate::{Block, Cid, varint};

const TYPE: u8 = 1 << 3;
const FILE: u64 = 2;
const FILE_SIZE: u8 = 3 << 3;
const BLOCK_SIZE: u8 = 4 << 3;

/// A part of a file: a leaf, or a node and all below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its block.
    pub cid: Cid,
    /// Bytes of the file in it.
    pub length: u64,
    /// Bytes of all its blocks.
    pub total: u64,
}

/// The block is no inner node of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an inner node of a file")]
pub struct NotAFile;

/// The node of these parts, in order, and what it is a part as. Their lengths must not overflow together.
pub fn join(parts: &[Part]) -> (Part, Block) {
    let length = parts.iter().map(|part| part.length).sum();
    let mut data = vec![TYPE];
    varint::put(FILE, &mut data);
    data.push(FILE_SIZE);
    varint::put(length, &mut data);
    for part in parts {
        data.push(BLOCK_SIZE);
        varint::put(part.length, &mut data);
    }
    let links = parts.iter().map(|part| Link { cid: part.cid, total: part.total }).collect();
    let block = dag_pb::Node { links, data }.encode();
    let total = parts.iter().map(|part| part.total).sum::<u64>() + block.bytes.len() as u64;
    (Part { cid: block.cid, length, total }, block)
}

/// The parts that a node joins.
pub fn parts(block: &[u8]) -> Result<Vec<Part>, NotAFile> {
    let node = dag_pb::Node::decode(block).map_err(|_| NotAFile)?;
    decode(&node).ok_or(NotAFile)
}

fn decode(node: &dag_pb::Node) -> Option<Vec<Part>> {
    let mut data = &node.data[..];
    if take_number(TYPE, &mut data)? != FILE {
        return None;
    }
    let length = take_number(FILE_SIZE, &mut data)?;
    let part = |link: &Link| {
        let length = take_number(BLOCK_SIZE, &mut data)?;
        Some(Part { cid: link.cid, length, total: link.total })
    };
    let parts: Vec<Part> = node.links.iter().map(part).collect::<Option<_>>()?;
    let sum = parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.length))?;
    (data.is_empty() && sum == length).then_some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Codec;

    proptest! {
        #[test]
        fn parts_come_back(lengths in prop::collection::vec((any::<[u8; 32]>(), any::<u32>()), 0..40)) {
            let part = |(hash, length)| {
                Part { cid: Cid::of_hash(Codec::Raw, hash), length: u64::from(length), total: u64::from(length) }
            };
            let before: Vec<Part> = lengths.into_iter().map(part).collect();
            let (whole, block) = join(&before);
            prop_assert_eq!(whole.length, before.iter().map(|part| part.length).sum::<u64>());
            prop_assert_eq!(parts(&block.bytes), Ok(before));
        }

        #[test]
        fn any_data_is_of_a_file_in_one_form_or_none(data in prop::collection::vec(0u8..40, 0..12)) {
            let cid = Cid::of(Codec::Raw, b"");
            let node = dag_pb::Node { links: vec![Link { cid, total: 0 }], data };
            let block = node.encode().bytes;
            if let Ok(parts) = parts(&block) {
                prop_assert_eq!(join(&parts).1.bytes, block);
            }
        }
    }
}
