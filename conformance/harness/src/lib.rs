//! Shared by all checks: a raw client, servers under test, proxies in front of them, expectations of answers, reports.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::return_self_not_must_use,
    clippy::should_implement_trait,
    reason = "for the programs beside it, not for others"
)]

pub mod authority;
pub mod client;
pub mod daemon;
pub mod digest;
pub mod expect;
pub mod gate;
pub mod issuer;
pub mod jobs;
pub mod layout;
pub mod local;
pub mod manifest;
pub mod noise;
pub mod operate;
pub mod partial;
pub mod program;
pub mod proxy;
pub mod random;
pub mod report;
pub mod scale;
pub mod server;
pub mod session;
pub mod site;
pub mod status;
pub mod stream;
pub mod surroundings;
pub mod tar;
pub mod target;
pub mod tls;
pub mod verify;
