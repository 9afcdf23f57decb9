//! The formats of IPFS, as far as files in the profile `unixfs-v1-2025` need them: CIDs, dag-pb, inner nodes, CAR archives.
//!
//! There is no input or output here. A file is made leaf by leaf by [`file::Builder`], and read block by block by
//! [`walk::Walk`]; both take a few hundred KiB of memory, however long the file is.
//!
//! Formats: <https://specs.ipfs.tech/unixfs/>, <https://ipld.io/specs/codecs/dag-pb/spec/>,
//! <https://ipld.io/specs/transport/car/carv1/>, <https://github.com/multiformats/cid>. The profile is IPIP-499.

pub mod car;
pub mod cid;
pub mod dag_pb;
pub mod file;
pub mod shape;
pub mod unixfs;
mod varint;
pub mod walk;

pub use cid::{Cid, Codec};

/// The name of the profile.
pub const PROFILE: &str = "unixfs-v1-2025";

/// Bytes of a leaf; the last one of a file may be shorter.
pub const LEAF: u64 = 1024 * 1024;

/// Most links of a node.
pub const MAX_LINKS: usize = 1024;

/// The longest block that peers exchange, in bytes.
pub const MAX_BLOCK: usize = 2 * 1024 * 1024;

/// A block with its CID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The CID of these bytes.
    pub cid: Cid,
    /// All bytes of the block.
    pub bytes: Vec<u8>,
}

impl Block {
    /// The block of these bytes.
    pub fn of(codec: Codec, bytes: Vec<u8>) -> Self {
        Block { cid: Cid::of(codec, &bytes), bytes }
    }
}
