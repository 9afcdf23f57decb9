//! Skyfile metadata: the JSON of a base sector, byte for byte as skyd writes it.
//!
//! A skylink commits to these bytes. Foreign metadata is kept unchanged. Metadata made here has the field order, the
//! omissions and the escapes of Go's `encoding/json`.

mod go_json;
mod object;
mod validate;

use std::collections::BTreeMap;

use object::Object;
use serde::{Deserialize, Serialize};
pub use validate::MetadataError;

/// The metadata of a skyfile. Field order and omissions are those of skyd's struct.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// The name of the file or of the directory.
    pub filename: String,
    /// Length of all content in bytes; early files with subfiles have 0 here.
    pub length: u64,
    /// Go's `os.FileMode`.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: u32,
    /// The subfiles by path. Raw uploads have none; a single file uploaded as multipart or by TUS has one.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "object::subfiles")]
    pub subfiles: BTreeMap<String, Subfile>,
    /// The path to serve for `/`.
    #[serde(skip_serializing_if = "is_default", rename = "defaultpath")]
    pub default_path: String,
    /// True to serve nothing for `/`.
    #[serde(skip_serializing_if = "is_default", rename = "disabledefaultpath")]
    pub disable_default_path: bool,
    /// The paths to try, in this order, for a path that does not exist.
    #[serde(skip_serializing_if = "is_default", rename = "tryfiles")]
    pub try_files: Vec<String>,
    /// The subfile to serve for each error status.
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
    /// The path, equal to the key.
    #[serde(skip_serializing_if = "is_default")]
    pub filename: String,
    /// The media type given by the uploader; empty for none.
    #[serde(skip_serializing_if = "is_default", rename = "contenttype")]
    pub content_type: String,
    /// The offset of its bytes in the content.
    #[serde(skip_serializing_if = "is_default")]
    pub offset: u64,
    /// The number of its bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub len: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Metadata {
    /// Parses foreign metadata. Unknown fields are accepted, as in skyd; known ones must be valid.
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
