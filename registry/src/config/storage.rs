//! `[storage]`: where the bytes lie.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::validate::Faults;
use super::{ByteSize, Skynet, TimeSpan};

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
    /// What an answer to a push promises: `local`, or `network` where there is a backend elsewhere.
    pub acknowledge: Acknowledge,
    /// Bytes of local content above which the least used goes that the backend has; 0 keeps everything.
    pub cache_size: ByteSize,
    /// Bytes that are not at the backend yet at which no further upload can be begun; 0 means no limit but the disk's.
    pub staging_limit: ByteSize,
    /// Pieces of content on their way to the backend at once.
    pub transfers: usize,
    /// Time that the answer to a read from the backend waits for the first verified bytes.
    pub cold_wait: TimeSpan,
    /// Time that a stop may take to bring to the backend what is only here.
    pub flush_timeout: TimeSpan,
    /// So long a removal that was asked for may still take effect at the backend. Content that is pushed again meanwhile is
    /// brought there anew, and its local file stays until it was read back after that time.
    pub unpin_settle: TimeSpan,
    /// Bytes per second that the background check of stored content reads; 0 turns it off.
    pub scrub_rate: ByteSize,
    /// The portals, where the backend is `skynet`.
    pub skynet: Skynet,
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            backend: Backend::Fs,
            data: PathBuf::from("./skyberth-data"),
            reserve: ByteSize::from_mib(64),
            index_cache: ByteSize::from_mib(64),
            acknowledge: Acknowledge::Local,
            cache_size: ByteSize::from_bytes(0),
            staging_limit: ByteSize::from_bytes(0),
            transfers: 4,
            cold_wait: TimeSpan::from_secs(1),
            // Kubernetes kills after 30 s.
            flush_timeout: TimeSpan::from_secs(20),
            unpin_settle: TimeSpan::from_secs(600),
            // A terabyte in a day and a half, for half a percent of a processor.
            scrub_rate: ByteSize::from_mib(8),
            skynet: Skynet::default(),
        }
    }
}

impl Storage {
    /// `attached`: a portal runs beside, and is one more.
    pub(super) fn validate(&self, attached: bool, faults: &mut Faults) {
        if self.data.as_os_str().is_empty() {
            faults.add("storage.data", "must name a directory");
        }
        faults.at_least_one("storage.transfers", self.transfers);
        faults.not_zero("storage.cold_wait", self.cold_wait);
        faults.not_zero("storage.unpin_settle", self.unpin_settle);
        let (least, most) = (ByteSize::from_mib(1), ByteSize::from_mib(64 * 1024));
        faults.size_within("storage.index_cache", self.index_cache, least, most);
        self.skynet.validate(self.backend == Backend::Skynet, attached, faults);
    }
}

/// What an answer to a push promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acknowledge {
    /// That the content is durable on this node.
    Local,
    /// That it is at the backend.
    Network,
}

/// A kind of storage that this build has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum Backend {
    /// Files on a local disk.
    Fs,
    /// The same, as a stage and a cache of what Skynet portals keep.
    Skynet,
}

/// The named backend exists elsewhere or nowhere, but not here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("backend `{0}` is not in this build (in it: fs, skynet)")]
pub struct UnknownBackend(String);

impl TryFrom<String> for Backend {
    type Error = UnknownBackend;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "fs" => Ok(Backend::Fs),
            "skynet" => Ok(Backend::Skynet),
            _ => Err(UnknownBackend(text)),
        }
    }
}
