//! `[storage]`: where the bytes lie.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ByteSize;
use super::validate::Faults;

/// The content store with its budgets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// What keeps the content.
    pub backend: Backend,
    /// Directory of everything the node writes.
    pub data: PathBuf,
    /// Bytes of the disk to keep free: uploads are refused below it, so that deletes still find room.
    pub reserve: ByteSize,
    /// Bytes of memory for the index's page cache.
    pub index_cache: ByteSize,
    /// Bytes per second that the background check of stored content reads; 0 turns it off.
    pub scrub_rate: ByteSize,
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            backend: Backend::Fs,
            data: PathBuf::from("./skyberth-data"),
            reserve: ByteSize::from_mib(64),
            index_cache: ByteSize::from_mib(64),
            // A terabyte in a day and a half, for half a percent of a processor.
            scrub_rate: ByteSize::from_mib(8),
        }
    }
}

impl Storage {
    pub(super) fn validate(&self, faults: &mut Faults) {
        if self.data.as_os_str().is_empty() {
            faults.add("storage.data", "must name a directory");
        }
        let (least, most) = (ByteSize::from_mib(1), ByteSize::from_mib(64 * 1024));
        faults.size_within("storage.index_cache", self.index_cache, least, most);
    }
}

/// A kind of storage that this build has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum Backend {
    /// Files on a local disk.
    Fs,
}

/// The named backend exists elsewhere or nowhere, but not here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("backend `{0}` is not in this build (in it: fs)")]
pub struct UnknownBackend(String);

impl TryFrom<String> for Backend {
    type Error = UnknownBackend;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "fs" => Ok(Backend::Fs),
            _ => Err(UnknownBackend(text)),
        }
    }
}
