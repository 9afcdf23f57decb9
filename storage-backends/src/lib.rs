//! Where bytes live: digests, hashers and content stores, and the backends that hold copies elsewhere. Knows nothing of repositories.

pub mod backend;
pub mod checksum;
pub mod digest;
pub mod fs;
pub mod hasher;
pub mod skynet;
