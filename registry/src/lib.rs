//! Skyberth, an OCI container registry.

pub mod catalog;
pub mod oci;
