//! Real clients before a registry that stores to portals, and the walk-through of the README.
#![expect(clippy::unnecessary_wraps, reason = "the rows of all clients have one signature")]

pub mod attached;
mod bad_portals;
pub mod network;
mod readme;
pub mod walk_through;
