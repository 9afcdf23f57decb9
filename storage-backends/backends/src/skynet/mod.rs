//! Portals of Skynet as a backend. Everything that a skylink commits to is computed here; portals are never trusted for
//! it.

mod backend;
mod blocking;
pub mod canonical;
mod client;
mod config;
mod content;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod identity;
mod placing;
mod portal;
mod presence;
mod problem;
mod roots;
mod secret;
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
pub use unit_roots::SectorRoots;
