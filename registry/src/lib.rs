//! Skyberth, an OCI container registry, which can keep copies of its content on Skynet portals.
//!
//! Calls go down only: [`http`] parses requests and renders answers, [`access`] says who may do what, [`service`] does
//! what a registry does, [`placement`] keeps copies elsewhere, and [`fetch`] brings content back from them. Below these is
//! [`content`], what is on this node: the [`catalog`] (which repository references what, in durable order) and
//! `content_store` (bytes). [`audit_journal`] keeps who did what.

pub mod access;
pub mod admin;
pub mod audit_journal;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod content;
pub mod data_dir;
pub mod fetch;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gateway;
pub mod gc;
pub mod http;
pub mod ids;
pub mod oci;
pub mod placement;
mod regular_file;
pub mod resources;
pub mod server;
pub mod service;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod units;
