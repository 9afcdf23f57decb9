//! Skynet: its formats, and portals as a backend. What a link commits to is computed here, never asked for.

mod backend;
pub mod base_sector;
pub mod canonical;
mod client;
mod config;
mod content;
pub mod datakey;
pub mod entry;
pub mod fanout;
pub mod layout;
pub mod metadata;
mod placing;
mod portal;
mod problem;
pub mod profile;
pub mod proof;
pub mod public_key;
pub mod range_proof;
pub mod resolver;
mod roots;
mod secret;
pub mod sector;
pub mod sector_tree;
pub mod skylink;
mod stats;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tus;
mod unit_roots;

#[cfg(test)]
mod tests;

pub use backend::{skynet_backend, skynet_backend_with};
pub use config::{Access, Deadlines, MAX_PORTALS, PortalConfig, PortalUrl, PortalUrlError, SkynetConfig};
pub use portal::{KIND, Portal};
pub use secret::Secret;
pub use stats::GATEWAY_HEADER;
