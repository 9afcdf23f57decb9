//! A Skynet-compatible portal: the HTTP API that Skynet's SDKs speak, over a store of sectors on a local disk.
//!
//! `http` parses a request and renders its answer; everything else knows nothing of HTTP. Formats (skylinks, layouts,
//! metadata, entries) are those of `skynet_formats`. Facts about skyd are from pcfreak30/skyd at 8e06847f.

mod api_keys;
mod blocklist;
pub mod entries;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod http;
mod identity;
mod limits;
mod media_type;
mod metrics;
mod open_skyfile;
mod options;
mod peer_key;
mod peers;
mod pins;
mod portal;
mod read_only;
mod registry;
mod resources;
mod sectors;
mod served;
mod skyfile;
mod tus;
mod upkeep;

pub use api_keys::ApiKeys;
pub use identity::IdentityError;
pub use metrics::Metrics;
pub use options::PortalOptions;
pub use peer_key::PeerKey;
pub use peers::{InvalidPeer, is_peer_url};
pub use portal::{OpenPortalError, Portal};
pub use resources::Resource;
pub use sectors::{Piece, Sector, SectorSource, SourceFile, Stretch};
