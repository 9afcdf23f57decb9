//! The formats of Skynet: skylinks, sectors and their Merkle trees, base sectors, fanouts, metadata, registry entries.
//!
//! Nothing here does input or output. Facts about skyd are from pcfreak30/skyd at 8e06847f.

pub mod base_sector;
mod blake2b;
mod byte_string;
pub mod datakey;
pub mod entry;
pub mod fanout;
pub mod go_encoding;
pub mod layout;
pub mod metadata;
pub mod profile;
pub mod proof;
pub mod public_key;
pub mod range_proof;
pub mod resolver;
pub mod sector;
pub mod sector_tree;
pub mod skylink;
pub mod unit_roots;

/// With this header each answer of a gateway says that it is one: what it serves is what a registry has on its disk, so
/// that it must never count as another place where content is.
pub const GATEWAY_HEADER: &str = "skyberth-gateway";
