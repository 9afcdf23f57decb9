//! The formats of Skynet: sectors, skylinks, skyfiles, registry entries. What a link commits to is computed here, never
//! asked for.

pub mod base_sector;
pub mod canonical;
pub mod datakey;
pub mod entry;
pub mod fanout;
pub mod layout;
pub mod metadata;
pub mod profile;
pub mod proof;
pub mod public_key;
pub mod range_proof;
pub mod resolver;
pub mod sector;
pub mod skylink;
