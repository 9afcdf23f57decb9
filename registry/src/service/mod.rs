//! What a registry does, free of HTTP: each public method is one operation of the distribution spec.
//!
//! Order of durable steps of every push: bytes synced -> file renamed into the store, directory synced -> facts committed
//! to the catalog -> answer. A crash before the commit leaves a file that nobody holds, which the next sweep removes.

mod acknowledge;
mod blobs;
mod caller;
mod closing;
mod error;
mod grace;
mod listing;
mod manifests;
mod mount;
mod overview;
mod referrers;
mod sessions;
mod upload_body;
mod uploads;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use content_store::{ContentStore, StoreError};
use tokio::sync::Semaphore;

use crate::catalog::Catalog;
use crate::content::LocalContent;
use crate::oci::Digest;
use crate::placement::{Durability, Remote};
use crate::telemetry::metrics::Metrics;

pub use blobs::{Blob, ColdBlob, Found};
pub use caller::Caller;
pub use closing::Closed;
pub use error::{Error, Progress};
pub(crate) use grace::{GraceTable, Touch};
pub use listing::{Names, Tags};
pub use manifests::{ManifestContent, ManifestInfo, ManifestPush, PushedManifest, SMALL_MANIFEST};
pub use overview::{Overview, RepositoryOverview, TagOverview};
pub use referrers::{Descriptor, Referrers};
pub use uploads::{ByteChunks, Chunk, Start, Started};

/// What the operator allows. Each has a key of the same name in the configuration.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the configuration, of its own name")]
pub struct Limits {
    /// Refuse manifests whose blobs and children are not in the repository.
    pub reference_checks: bool,
    /// Refuse manifests whose descriptors state other sizes than the content has.
    pub descriptor_sizes: bool,
    /// Allow DELETE of manifests, tags and blobs.
    pub delete: bool,
    /// Allow DELETE of a blob that manifests need.
    pub delete_referenced_blobs: bool,
    /// Bytes of a manifest.
    pub max_manifest_size: u64,
    /// Bytes of a blob; 0 = no limit.
    pub max_blob_size: u64,
    /// Results of one page of a list.
    pub page_size: usize,
    /// `?tag=` parameters of one manifest PUT.
    pub max_tags_per_put: usize,
    /// Open upload sessions.
    pub max_uploads: usize,
    /// Bodies that stream in at once; each has a thread.
    pub max_transfers: usize,
    /// Bytes that uploads leave free on the disk.
    pub reserve: u64,
    /// How long an unreferenced blob is kept.
    pub grace: Duration,
    /// How long a session may be idle.
    pub upload_expiry: Duration,
}

/// The registry: one per process, shared by everything that serves or maintains it.
#[derive(Debug)]
pub struct Registry {
    pub(crate) content: Arc<LocalContent>,
    pub(crate) limits: Limits,
    pub(crate) grace: GraceTable,
    pub(crate) metrics: Arc<Metrics>,
    /// Held by the one collection that may run.
    pub(crate) collecting: tokio::sync::Mutex<()>,
    /// Where content is placed, if anywhere.
    pub(crate) remote: Option<Arc<Remote>>,
    /// What `status` says besides the figures.
    pub(crate) notes: Vec<String>,
    sessions: sessions::Sessions,
    transfers: Arc<Semaphore>,
    large_manifests: Arc<Semaphore>,
    overviews: overview::Overviews,
}

/// How many manifests above [`SMALL_MANIFEST`] are in memory at once; bounds what hostile ones cost.
const LARGE_MANIFESTS: usize = 16;

impl Registry {
    /// Takes up the sessions that an earlier process left. Blocking.
    pub fn open(content: LocalContent, limits: Limits) -> Result<Self, StoreError> {
        let sessions = sessions::Sessions::open(&content.store)?;
        content.metrics.uploads_open.set(i64::try_from(sessions.count()).unwrap_or(i64::MAX));
        Ok(Registry { sessions, ..Registry::open_to_read(content, limits) })
    }

    /// For reads only: without the sessions that an earlier process left.
    pub fn open_to_read(content: LocalContent, limits: Limits) -> Self {
        Registry {
            grace: GraceTable::new(limits.grace),
            transfers: Arc::new(Semaphore::new(limits.max_transfers)),
            large_manifests: Arc::new(Semaphore::new(LARGE_MANIFESTS)),
            collecting: tokio::sync::Mutex::new(()),
            remote: None,
            notes: Vec::new(),
            overviews: overview::Overviews::new(),
            limits,
            metrics: Arc::clone(&content.metrics),
            content: Arc::new(content),
            sessions: sessions::Sessions::default(),
        }
    }

    /// The same with a backend; its catalog was opened with [`Remote::wanted`] of that.
    #[must_use]
    pub fn with_remote(self, remote: Remote) -> Self {
        Registry { remote: Some(Arc::new(remote)), ..self }
    }

    /// The same with a sentence that its operator should read.
    #[must_use]
    pub fn with_note(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    /// What the operator should read.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether this node could be lost now, by its records; `None` where it is the only place anyway.
    pub fn durability(&self) -> Option<Durability> {
        Some(self.remote.as_ref()?.durability(self.catalog().backlog(), self.catalog().unsettled_count()))
    }

    /// The catalog, for maintenance and status.
    pub fn catalog(&self) -> &Catalog {
        &self.content.catalog
    }

    /// The content store, for maintenance and status.
    pub fn store(&self) -> &ContentStore {
        &self.content.store
    }

    /// The content of this node, for layers that need no more.
    pub fn content(&self) -> &Arc<LocalContent> {
        &self.content
    }

    /// Where content is placed, if anywhere.
    pub fn remote(&self) -> Option<&Arc<Remote>> {
        self.remote.as_ref()
    }

    /// True if a backend has acknowledged the content, and is not to remove it.
    pub(crate) fn is_placed(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.remote.is_some() && !self.catalog().standing_places(digest)?.is_empty())
    }

    /// Nothing new is begun while the disk fails: what comes would fail at its end, after all its bytes.
    pub(crate) fn check_store(&self) -> Result<(), Error> {
        if self.store().is_troubled() { Err(Error::StoreTroubled) } else { Ok(()) }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Waits for work whose client has left; call it after the last connection is closed.
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

    /// Runs index pages on a blocking thread: they may touch the disk many times.
    pub(crate) async fn reading<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Catalog) -> Result<T, Error> + Send + 'static,
    {
        self.content.reading(work).await
    }

    /// Starts a blob's grace period anew; waits if it is just being collected.
    pub(crate) async fn touch(&self, repository: &crate::oci::RepositoryName, digest: &Digest) {
        if self.grace.touch(repository, digest) == Touch::BeingCollected {
            drop(self.content.locks.lock(digest).await);
            let _ = self.grace.touch(repository, digest);
        }
    }
}
