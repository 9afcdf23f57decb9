//! Real clients of a registry that stores to portals, attached or not.
#![expect(clippy::unnecessary_wraps, reason = "the rows of all clients have one signature")]

pub mod attached;
pub mod network;
