//! Nodes with links, in dag-pb: protocol buffers with exactly one form for each node.
//!
//! `PBNode { repeated PBLink Links = 2; bytes Data = 1 }`, links first; `PBLink { Hash = 1, Name = 2, Tsize = 3 }`, all
//! of them given.

use crate::cid::Cid;
use crate::varint;
use crate::{Block, Codec, MAX_BLOCK, MAX_LINKS};

/// Tags: the number of the field, and 0 for a number or 2 for bytes.
const DATA: u8 = 1 << 3 | 2;
const LINK: u8 = 2 << 3 | 2;
const LINK_HASH: u8 = 1 << 3 | 2;
const LINK_NAME: u8 = 2 << 3 | 2;
const LINK_TOTAL: u8 = 3 << 3;

/// A link to a block, without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The block.
    pub cid: Cid,
    /// Bytes of that block and of all below it (`Tsize`).
    pub total: u64,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its links, in order.
    pub links: Vec<Link>,
    /// Its own bytes.
    pub data: Vec<u8>,
}

/// The block is no node of this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a dag-pb node in its only form, with at most {MAX_LINKS} links without names")]
pub struct Malformed;

impl Node {
    /// The block of this node.
    pub fn encode(&self) -> Block {
        let mut block = Vec::with_capacity(self.links.len() * 56 + self.data.len() + 8);
        for link in &self.links {
            let mut fields = Vec::with_capacity(52);
            put_bytes(LINK_HASH, &link.cid.to_bytes(), &mut fields);
            put_bytes(LINK_NAME, b"", &mut fields);
            fields.push(LINK_TOTAL);
            varint::put(link.total, &mut fields);
            put_bytes(LINK, &fields, &mut block);
        }
        put_bytes(DATA, &self.data, &mut block);
        Block::of(Codec::DagPb, block)
    }

    /// Decodes a block.
    pub fn decode(block: &[u8]) -> Result<Self, Malformed> {
        decode(block).ok_or(Malformed)
    }
}

fn put_bytes(tag: u8, bytes: &[u8], to: &mut Vec<u8>) {
    to.push(tag);
    varint::put(bytes.len() as u64, to);
    to.extend_from_slice(bytes);
}

fn decode(mut block: &[u8]) -> Option<Node> {
    if block.len() > MAX_BLOCK {
        return None;
    }
    let mut links = Vec::new();
    while block.first() == Some(&LINK) {
        if links.len() == MAX_LINKS {
            return None;
        }
        links.push(decode_link(take_bytes(LINK, &mut block)?)?);
    }
    let data = take_bytes(DATA, &mut block)?.to_vec();
    block.is_empty().then_some(Node { links, data })
}

fn decode_link(mut fields: &[u8]) -> Option<Link> {
    let cid = Cid::from_bytes(take_bytes(LINK_HASH, &mut fields)?).ok()?;
    let name = take_bytes(LINK_NAME, &mut fields)?;
    let total = take_number(LINK_TOTAL, &mut fields)?;
    (name.is_empty() && fields.is_empty()).then_some(Link { cid, total })
}

/// Takes the bytes of a field off the front, if it is that field.
pub(crate) fn take_bytes<'a>(tag: u8, from: &mut &'a [u8]) -> Option<&'a [u8]> {
    *from = from.strip_prefix(&[tag])?;
    let length = usize::try_from(varint::take(from)?).ok()?;
    let (bytes, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(bytes)
}

/// Takes the number of a field off the front, if it is that field.
pub(crate) fn take_number(tag: u8, from: &mut &[u8]) -> Option<u64> {
    *from = from.strip_prefix(&[tag])?;
    varint::take(from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link() -> impl Strategy<Value = Link> {
        (any::<[u8; 32]>(), any::<u64>()).prop_map(|(hash, total)| Link { cid: Cid::of_hash(Codec::Raw, hash), total })
    }

    #[test]
    fn a_node_has_1024_links_at_most() {
        let link = Link { cid: Cid::of(Codec::Raw, b""), total: 0 };
        let node = |count| Node { links: vec![link; count], data: vec![] };
        assert_eq!(Node::decode(&node(1024).encode().bytes), Ok(node(1024)));
        assert_eq!(Node::decode(&node(1025).encode().bytes), Err(Malformed));
    }

    #[test]
    fn lengths_beyond_the_block_are_refused() {
        let cut = [&b""[..], b"\x0a", b"\x0a\x05abc", b"\x12\x02\x0a\x00\x0a\x00", b"\x0a\x00\x0a\x00", b"\x0a\x00x"];
        for block in cut {
            assert_eq!(Node::decode(block), Err(Malformed), "{block:x?}");
        }
        let huge = [&b"\x0a"[..], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"].concat();
        assert_eq!(Node::decode(&huge), Err(Malformed));
        assert_eq!(Node::decode(b"\x0a\x00"), Ok(Node { links: vec![], data: vec![] }));
    }

    proptest! {
        #[test]
        fn a_node_comes_back(links in prop::collection::vec(link(), 0..40), data: Vec<u8>) {
            let node = Node { links, data };
            prop_assert_eq!(Node::decode(&node.encode().bytes), Ok(node));
        }

        #[test]
        fn any_block_is_a_node_in_one_form_or_none(
            links in prop::collection::vec(link(), 0..3),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut block = Node { links, data: b"data".to_vec() }.encode().bytes;
            for (place, byte) in changes {
                let place = place.index(block.len());
                block[place] = byte;
            }
            if let Ok(node) = Node::decode(&block) {
                prop_assert_eq!(node.encode().bytes, block);
            }
        }
    }
}
