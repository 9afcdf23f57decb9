//! `[registry]`: what the registry accepts from clients.

use serde::{Deserialize, Serialize};

use super::ByteSize;
use super::validate::Faults;

/// Limits and rules for manifests, blobs, lists and upload sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registry {
    /// Refuse a manifest whose blobs or children are not in the repository.
    pub reference_checks: bool,
    /// Treatment of a manifest with wrong sizes in its descriptors. `check`: it is refused. `ignore`: it is
    /// accepted, for copies of old images.
    pub descriptor_sizes: DescriptorSizes,
    /// Let clients delete; if off, DELETE is answered 405. `skyberth rm` works either way.
    pub delete: bool,
    /// Let clients delete a blob that a manifest of the repository still references.
    pub delete_referenced_blobs: bool,
    /// Bytes of one manifest.
    ///
    /// It is held in memory while it is parsed; the spec asks for at least 4 MiB.
    pub max_manifest_size: ByteSize,
    /// Config, layers or children of one manifest that is pushed. Stored manifests with more can be pulled and deleted.
    ///
    /// The index has an entry for each, and other pushes wait while it is written.
    pub max_references: usize,
    /// Bytes of one blob. 0: only the disk limits it.
    pub max_blob_size: ByteSize,
    /// Bytes advertised to clients as `OCI-Chunk-Max-Length`. 0: nothing is advertised.
    ///
    /// 64 MiB stays under the 100 MiB per request of Akash's ingress and of Cloudflare, and is the step at which an
    /// upload is synced to disk.
    pub chunk_max_length: ByteSize,
    /// Most results in one page of tags, repositories or referrers.
    pub page_size: usize,
    /// Most `tag` parameters on one manifest PUT.
    pub max_tags_per_put: usize,
    /// Upload sessions open at once, over all repositories. [One client](explanation/shares.md) has half of them at
    /// most.
    pub max_uploads: usize,
    /// Bodies of blobs received at once. Each takes a thread and about 1 MiB of buffers.
    /// [One client](explanation/shares.md) has half of them at most.
    pub max_transfers: usize,
}

/// What happens to a manifest that states wrong sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DescriptorSizes {
    /// It is refused: clients would fail to pull it, or would read past the end.
    Check,
    /// It is accepted. Old images in other registries have such manifests, and must be copied unchanged.
    Ignore,
}

impl Default for Registry {
    fn default() -> Self {
        Registry {
            reference_checks: true,
            descriptor_sizes: DescriptorSizes::Check,
            delete: true,
            delete_referenced_blobs: false,
            max_manifest_size: ByteSize::from_mib(4),
            max_references: 10_000,
            max_blob_size: ByteSize::from_bytes(0),
            chunk_max_length: ByteSize::from_mib(64),
            page_size: 1000,
            max_tags_per_put: 64,
            max_uploads: 4096,
            // Half of tokio's 512 blocking threads. The other half serves the index and small files.
            max_transfers: 256,
        }
    }
}

impl Registry {
    pub(super) fn validate(&self, faults: &mut Faults) {
        // A manifest's record lists all its references and must fit into a record of the journal.
        let (least, most) = (ByteSize::from_bytes(1), ByteSize::from_mib(8));
        faults.size_within("registry.max_manifest_size", self.max_manifest_size, least, most);
        faults.count("registry.max_references", self.max_references);
        faults.count("registry.page_size", self.page_size);
        faults.count("registry.max_tags_per_put", self.max_tags_per_put);
        faults.count("registry.max_uploads", self.max_uploads);
        faults.count("registry.max_transfers", self.max_transfers);
        let unlimited = self.max_blob_size.is_zero();
        if !unlimited && self.max_blob_size < self.max_manifest_size {
            faults.add("registry.max_blob_size", "must be 0 (no limit) or at least registry.max_manifest_size");
        }
    }
}
