//! Skyberth, an OCI container registry.

pub mod catalog;
pub mod config;
pub mod oci;
pub mod server;
pub mod telemetry;
