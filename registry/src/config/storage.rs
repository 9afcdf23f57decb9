//! `[storage]`: where content is stored.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::validate::Faults;
use super::{ByteSize, Skynet, TimeSpan};

/// The content store, its limits, and its backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Storage of the content. `fs`: local files. `skynet`: Skynet portals, with local files as staging area and cache.
    pub backend: Backend,
    /// Directory of everything that the node writes.
    pub data: PathBuf,
    /// Bytes of the disk to keep free. Uploads get 507 a little above it, at nine eighths.
    ///
    /// So what was uploaded can be recorded, and deletes find room.
    pub reserve: ByteSize,
    /// Bytes of memory for the pages of the index.
    pub index_cache: ByteSize,
    /// Promise of the answer to a push. `local`: the content is durable on this node. `network`: it is also on the
    /// portals.
    pub acknowledge: Acknowledge,
    /// Bytes of local content above which the least recently used is evicted. Only content that was read back from the
    /// portals is evicted. 0: nothing is evicted.
    pub cache_size: ByteSize,
    /// Most bytes that are not on the portals yet, with those of unfinished uploads; beyond it, uploads and manifests
    /// get
    /// 503. Larger blobs cannot be pushed. 0: only the disk limits them.
    pub staging_limit: ByteSize,
    /// Also place content that only private repositories have. At the portals, all that know its address can read it.
    /// Without it, that content stays on this node alone.
    pub private: bool,
    /// Pieces of content uploaded to the portals at once, and removals in flight at each portal.
    pub transfers: usize,
    /// Time that the answer to a read from the portals waits for the first verified bytes.
    pub cold_wait: TimeSpan,
    /// Time for which a stop uploads content that is only on this node.
    pub flush_timeout: TimeSpan,
    /// Time after a request for a removal at a portal during which it may still take effect. Content that is pushed
    /// again meanwhile stays on this node, and is then checked at the portals.
    pub unpin_settle: TimeSpan,
    /// Bytes a second that the background check of stored content reads. 0: no check.
    pub scrub_rate: ByteSize,
    /// Time in which each copy on a portal is asked for once. A copy that is missing does not count any more, and is made
    /// again.
    pub audit_interval: TimeSpan,
    /// Time in which each copy on a portal is read whole once, as fast as `storage.audit_rate` allows. 0: never.
    pub full_read_interval: TimeSpan,
    /// Bytes a second that these checks read from portals. 0: they read nothing.
    pub audit_rate: ByteSize,
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
            private: false,
            transfers: 4,
            cold_wait: TimeSpan::from_secs(1),
            // Kubernetes kills a pod 30 s after SIGTERM. The flush and the grace of running requests must finish
            // before.
            flush_timeout: TimeSpan::from_secs(15),
            unpin_settle: TimeSpan::from_secs(600),
            // Reads a terabyte in a day and a half, for half a percent of a processor.
            scrub_rate: ByteSize::from_mib(8),
            audit_interval: TimeSpan::from_secs(24 * 3600),
            full_read_interval: TimeSpan::from_secs(30 * 24 * 3600),
            // Ten terabytes in thirty days.
            audit_rate: ByteSize::from_mib(4),
            skynet: Skynet::default(),
        }
    }
}

impl Storage {
    /// Reports faults. `attached`: an attached portal is one more portal.
    pub(super) fn validate(&self, attached: bool, faults: &mut Faults) {
        if self.data.as_os_str().is_empty() {
            faults.add("storage.data", "must name a directory");
        }
        faults.count("storage.transfers", self.transfers);
        if self.acknowledge == Acknowledge::Network && self.backend == Backend::Fs && !attached {
            faults.add("storage.acknowledge", "promises copies on portals, but storage.backend is fs");
        }
        faults.not_zero("storage.cold_wait", self.cold_wait);
        faults.not_zero("storage.unpin_settle", self.unpin_settle);
        faults.not_zero("storage.audit_interval", self.audit_interval);
        let (least, most) = (ByteSize::from_mib(1), ByteSize::from_mib(64 * 1024));
        faults.size_within("storage.index_cache", self.index_cache, least, most);
        self.skynet.validate(self.backend == Backend::Skynet, attached, faults);
    }
}

/// What the answer to a push promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acknowledge {
    /// The content is durable on this node.
    Local,
    /// The content is at the backend.
    Network,
}

/// A kind of storage in this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum Backend {
    /// Files on a local disk.
    Fs,
    /// Files on a local disk, as staging area and cache for Skynet portals.
    Skynet,
}

/// The error for a backend that this build does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("backend `{0}` is not in this build, which has fs and skynet")]
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
