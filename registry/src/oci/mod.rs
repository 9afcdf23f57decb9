//! The vocabulary of the OCI specs as types that cannot hold an invalid value.

mod repository_name;
mod tag;

pub use repository_name::{InvalidRepositoryName, RepositoryName};
pub use storage_backends::digest::{Algorithm, Digest, DigestError};
pub use tag::{InvalidTag, Tag};
