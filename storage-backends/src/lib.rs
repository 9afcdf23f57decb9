//! Where bytes live: digests, hashers, content stores, and backends that hold copies elsewhere. Knows nothing of
//! repositories.

pub mod backend;
pub mod checksum;
pub mod digest;
pub mod fs;
pub mod hasher;
pub mod skynet;
pub mod tls;
