//! The vocabulary of the OCI specs as types that cannot hold an invalid value.

mod fixed_tags;
pub mod manifest;
mod media_type;
mod reference;
mod repository_name;
mod tag;

pub use content_store::digest::{Algorithm, Digest, DigestError};
pub use fixed_tags::{FixedTags, InvalidTagPattern, TagPattern, TagRule};
pub use media_type::ManifestKind;
pub use reference::Reference;
pub use repository_name::{InvalidRepositoryName, RepositoryName};
pub use tag::{InvalidTag, Tag};
