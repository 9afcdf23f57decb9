//! The operations of a registry, free of HTTP: a public method for each operation of the distribution spec.
//!
//! Every push has these durable steps: bytes synced -> file renamed into the store, directory synced -> facts committed
//! to the catalog -> answer. A crash before the commit leaves an unreferenced file, which the next sweep removes.

mod acknowledge;
mod admission;
mod blobs;
mod caller;
mod closing;
mod error;
mod grace;
mod listing;
mod manifest_memory;
mod manifests;
mod mount;
mod overview;
mod referrers;
mod sessions;
mod staging;
mod sync_turns;
mod upload_body;
mod uploads;
mod yielding;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use content_store::{ContentStore, StoreError};
use serving::Pool;
use tokio::sync::Semaphore;

use crate::catalog::Catalog;
use crate::content::LocalContent;
use crate::oci::{Digest, RepositoryName};
use crate::placement::{Durability, Remote};
use crate::resources::Resource;
use crate::telemetry::metrics::Metrics;
use staging::Staging;

pub use admission::Permits;
pub use blobs::{Blob, ColdBlob, Found};
pub use caller::Caller;
pub use closing::Closed;
pub use error::{Error, Progress};
pub(crate) use grace::{GraceTable, Touch};
pub use listing::{Names, Tags};
pub use manifest_memory::{MemoryPermit, SMALL_MANIFEST};
pub use manifests::{ManifestContent, ManifestInfo, ManifestPush, PushedManifest};
pub use mount::MayPull;
pub use overview::{Overview, RepositoryOverview, TagOverview};
pub use referrers::{Descriptor, Referrers};
pub use uploads::{ByteChunks, Chunk, IncomingBody, Start, Started};

/// Limits and switches set by the operator. Each has a configuration key of the same name.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a configuration switch of the same name")]
pub struct Limits {
    /// Refuse manifests whose blobs or children are not in the repository.
    pub reference_checks: bool,
    /// Refuse manifests whose descriptors state wrong sizes.
    pub descriptor_sizes: bool,
    /// Allow DELETE of manifests, tags and blobs.
    pub delete: bool,
    /// Allow DELETE of a blob that manifests reference.
    pub delete_referenced_blobs: bool,
    /// Most bytes of a manifest.
    pub max_manifest_size: u64,
    /// Most references of a manifest that is pushed.
    pub max_references: usize,
    /// Most bytes of a blob; 0: no limit.
    pub max_blob_size: u64,
    /// Most results on one page of a list.
    pub page_size: usize,
    /// Most `?tag=` parameters of one manifest PUT.
    pub max_tags_per_put: usize,
    /// Most open upload sessions.
    pub max_uploads: usize,
    /// Most request bodies received at once; each has a thread.
    pub max_transfers: usize,
    /// How long a request waits for one of these.
    pub permit_patience: Duration,
    /// Bytes of the disk that uploads leave free.
    pub reserve: u64,
    /// How long an unreferenced blob stays.
    pub grace: Duration,
    /// How long a session may be idle.
    pub upload_expiry: Duration,
}

/// Bytes that uploads leave free: more than the reserve, so that what was uploaded can be recorded.
pub fn left_by_uploads(reserve: u64) -> u64 {
    reserve.saturating_add(reserve / 8)
}

/// The registry. There is one per process, shared by all that serve or maintain it.
#[derive(Debug)]
pub struct Registry {
    pub(crate) content: Arc<LocalContent>,
    pub(crate) limits: Limits,
    pub(crate) grace: GraceTable,
    pub(crate) metrics: Arc<Metrics>,
    /// Locked by the running collection.
    pub(crate) collecting: tokio::sync::Mutex<()>,
    /// The backend for copies, if there is one.
    pub(crate) remote: Option<Arc<Remote>>,
    /// Messages for the operator, besides the figures of `status`.
    pub(crate) notes: Vec<String>,
    sessions: sessions::Sessions,
    sync_turns: sync_turns::SyncTurns,
    staging: Staging,
    transfers: Arc<Pool>,
    manifest_memory: Arc<manifest_memory::ManifestMemory>,
    manifest_pushes: Arc<Semaphore>,
    large_reads: Arc<Semaphore>,
    overviews: overview::Overviews,
}

/// Most whole manifests that are checked and committed at once.
const MANIFEST_PUSHES: usize = 256;
/// Most manifests above [`SMALL_MANIFEST`] that are read whole at once, to be verified before they are sent.
const LARGE_READS: usize = 4;

impl Registry {
    /// Opens a registry with the sessions that an earlier process left. Blocks.
    pub fn open(content: LocalContent, limits: Limits) -> Result<Self, StoreError> {
        let registry = Registry::open_to_read(content, limits);
        let sessions = sessions::Sessions::open(registry.store(), &registry.limits, &registry.staging)?;
        registry.metrics.uploads_open.set(i64::try_from(sessions.count()).unwrap_or(i64::MAX));
        Ok(Registry { sessions, ..registry })
    }

    /// Opens a registry only for reading, without sessions.
    pub fn open_to_read(content: LocalContent, limits: Limits) -> Self {
        Registry {
            grace: GraceTable::new(limits.grace),
            sync_turns: sync_turns::SyncTurns::default(),
            transfers: Pool::new(Resource::Bodies.name(), limits.max_transfers, limits.permit_patience),
            manifest_memory: manifest_memory::ManifestMemory::new(),
            manifest_pushes: Arc::new(Semaphore::new(MANIFEST_PUSHES)),
            large_reads: Arc::new(Semaphore::new(LARGE_READS)),
            collecting: tokio::sync::Mutex::new(()),
            remote: None,
            notes: Vec::new(),
            overviews: overview::Overviews::new(),
            sessions: sessions::Sessions::new(&limits),
            limits,
            metrics: Arc::clone(&content.metrics),
            staging: Staging::new(content.catalog.clone()),
            content: Arc::new(content),
        }
    }

    /// Adds a backend. The catalog must have been opened with [`Remote::wanted`] of that backend.
    #[must_use]
    pub fn with_remote(self, remote: Remote) -> Self {
        self.staging.limit_to(remote.settings.staging_limit);
        Registry { remote: Some(Arc::new(remote)), ..self }
    }

    /// Adds a message for the operator.
    #[must_use]
    pub fn with_note(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    /// Messages for the operator.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether this node's disk could be lost now, by its records; `None` without a backend.
    pub fn durability(&self) -> Option<Durability> {
        Some(self.remote.as_ref()?.durability(self.catalog()))
    }

    /// The catalog, for maintenance and status.
    pub fn catalog(&self) -> &Catalog {
        &self.content.catalog
    }

    /// The content store, for maintenance and status.
    pub fn store(&self) -> &ContentStore {
        &self.content.store
    }

    /// The content of this node, for layers that need nothing else.
    pub fn content(&self) -> &Arc<LocalContent> {
        &self.content
    }

    /// The backend for copies, if there is one.
    pub fn remote(&self) -> Option<&Arc<Remote>> {
        self.remote.as_ref()
    }

    /// True if a backend acknowledged the content and has no pending unpin of it.
    pub(crate) fn is_placed(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.remote.is_some() && !self.catalog().standing_places(digest)?.is_empty())
    }

    /// Fails while the disk fails, so that no push begins that could only fail after all its bytes.
    pub(crate) fn check_store(&self) -> Result<(), Error> {
        if self.store().is_troubled() { Err(Error::StoreTroubled) } else { Ok(()) }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Waits for work whose clients have left. To be called after the last connection has closed.
    pub async fn finish(&self) {
        self.content.tasks.close();
        self.content.tasks.wait().await;
    }

    /// Runs file work on a blocking thread. The guard lives until the work ends, even if the caller leaves.
    pub(crate) async fn blocking_with<G, T, F>(&self, guard: G, work: F) -> Result<T, Error>
    where
        G: Send + 'static,
        T: Send + 'static,
        F: FnOnce(&ContentStore) -> Result<T, StoreError> + Send + 'static,
    {
        Ok(self.content.blocking_with(guard, work).await?)
    }

    /// Runs file work on a blocking thread.
    pub(crate) async fn blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&ContentStore) -> Result<T, StoreError> + Send + 'static,
    {
        Ok(self.content.blocking(work).await?)
    }

    /// Reads index pages on a blocking thread, since they may touch the disk many times.
    pub(crate) async fn reading<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Catalog) -> Result<T, Error> + Send + 'static,
    {
        self.content.reading(work).await
    }

    /// Restarts a blob's grace period before a client is told whether it exists. Waits if the blob is being collected.
    /// False if clients must be told that it is absent, since no manifest has needed it for too long.
    pub(crate) async fn touch(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        match self.grace.touch(repository, digest) {
            Touch::Kept => return Ok(true),
            Touch::BeingCollected => drop(self.content.locks.lock(digest).await),
            Touch::Overdue if self.is_overdue(repository, digest)? => return Ok(false),
            Touch::Overdue => {}
        }
        let _ = self.grace.renew(repository, digest);
        Ok(true)
    }

    /// True if no manifest has needed a blob of the repository for too long.
    pub(crate) fn is_overdue(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        Ok(self.grace.is_overdue(repository, digest) && self.catalog().referring(repository, digest, 1)?.is_empty())
    }
}
