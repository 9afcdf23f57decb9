//! The judge of any registry: the official suite, the edge table, the model, real clients.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::return_self_not_must_use,
    clippy::len_without_is_empty,
    reason = "for the programs beside it, not for others"
)]

pub mod clients;
pub mod edge;
pub mod model;
pub mod official;
