//! Skyberth, an OCI container registry that survives the loss of any machine, portal or provider.
//!
//! Calls go one way: [`http`] parses requests and renders answers, and [`service`] does what a registry does. Below
//! these are the [`catalog`] (which repository references what, in durable order) and `content_store` (bytes).

pub mod admin;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod data_dir;
pub mod gateway;
pub mod gc;
pub mod http;
pub mod ids;
mod locks;
pub mod oci;
pub mod placement;
pub mod server;
pub mod service;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod units;
