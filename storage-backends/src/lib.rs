//! Where bytes live: digests, hashers and content stores. Knows nothing of repositories.

pub mod checksum;
pub mod digest;
pub mod fs;
pub mod hasher;
pub mod skynet;
