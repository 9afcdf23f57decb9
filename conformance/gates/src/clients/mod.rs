//! Real clients of a registry that stores to portals, and the walk-through of the README.
#![expect(clippy::unnecessary_wraps, reason = "the rows of all clients have one signature")]

mod attached;
pub mod network;
mod readme;
pub mod walk_through;
