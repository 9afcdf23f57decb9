//! Where bytes live: digests, hashers and content stores. Knows nothing of repositories.

pub mod digest;
