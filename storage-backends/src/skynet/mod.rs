//! The formats of Skynet: sectors, skylinks, skyfiles. What a link commits to is computed here, never asked for.

pub mod base_sector;
pub mod canonical;
pub mod layout;
pub mod profile;
pub mod range_proof;
pub mod sector;
pub mod skylink;
