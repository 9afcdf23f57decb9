//! Skyfile metadata: the JSON of a base sector, byte for byte as skyd writes it.
//!
//! A skylink commits to these bytes. Those of others are kept as they came; what is made here has the field order, the
//! omissions and the escapes of Go's `encoding/json`.

mod go_json;
mod object;
mod validate;

use std::collections::BTreeMap;

use object::Object;
use serde::{Deserialize, Serialize};
pub use validate::MetadataError;

/// What a skyfile says of itself. Field order and omissions are those of skyd's struct.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Of the file, or of the directory.
    pub filename: String,
    /// Bytes of all content; early files with subfiles have 0 here.
    pub length: u64,
    /// Go's `os.FileMode`.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: u32,
    /// By path. Raw uploads have none, a single file as multipart or TUS has one.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "object::subfiles")]
    pub subfiles: BTreeMap<String, Subfile>,
    /// What to serve for `/`.
    #[serde(skip_serializing_if = "is_default", rename = "defaultpath")]
    pub default_path: String,
    /// Serve nothing for `/`.
    #[serde(skip_serializing_if = "is_default", rename = "disabledefaultpath")]
    pub disable_default_path: bool,
    /// What to try, in this order, for a path that does not exist.
    #[serde(skip_serializing_if = "is_default", rename = "tryfiles")]
    pub try_files: Vec<String>,
    /// Which subfile to serve with which error status.
    #[serde(skip_serializing_if = "is_default", rename = "errorpages")]
    pub error_pages: BTreeMap<u16, String>,
}

/// One file of a skyfile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subfile {
    /// Go's `os.FileMode`.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: u32,
    /// The path; the same as the key.
    #[serde(skip_serializing_if = "is_default")]
    pub filename: String,
    /// As the uploader named it; empty for none.
    #[serde(skip_serializing_if = "is_default", rename = "contenttype")]
    pub content_type: String,
    /// Where its bytes begin in the content.
    #[serde(skip_serializing_if = "is_default")]
    pub offset: u64,
    /// How many they are.
    #[serde(skip_serializing_if = "is_default")]
    pub len: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Metadata {
    /// Reads foreign metadata. Unknown fields pass, as they do in skyd; known ones must be valid.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        let Object(metadata) = serde_json::from_slice::<Object<Metadata>>(bytes).map_err(MetadataError::Malformed)?;
        metadata.validate()?;
        Ok(metadata)
    }

    /// The bytes that skyd would write.
    pub fn to_bytes(&self) -> Vec<u8> {
        go_json::to_bytes(self)
    }
}

#[cfg(test)]
mod tests;
