//! The formats of Skynet: skylinks, sectors and their Merkle trees, base sectors, fanouts, metadata, registry entries.
//!
//! There is no input or output here. Facts about skyd are from pcfreak30/skyd at 8e06847f.

pub mod base_sector;
mod blake2b;
mod byte_string;
pub mod datakey;
pub mod entry;
pub mod fanout;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod go_encoding;
pub mod identity;
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

/// The header by which each answer of a gateway says that it is one. A gateway serves from a registry's disk, so its
/// content must never count as another copy.
pub const GATEWAY_HEADER: &str = "skyberth-gateway";
