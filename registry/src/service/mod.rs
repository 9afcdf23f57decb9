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
mod hot_content;
mod kept_files;
mod listing;
mod manifests;
mod mount;
mod overview;
mod push_report;
mod referrers;
mod sessions;
mod upload_body;
mod uploads;
mod usage;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use content_store::{ContentStore, StoreError};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::catalog::{Catalog, CatalogState};
use crate::locks::{DigestLock, DigestLocks};
use crate::oci::Digest;
use crate::placement::{Durability, Remote};
use crate::telemetry::metrics::Metrics;

pub use blobs::{Blob, Found};
pub use caller::Caller;
pub use closing::Closed;
pub use error::{Error, Progress};
pub(crate) use grace::{GraceTable, Touch};
pub use kept_files::KeptFiles;
pub use listing::{Names, Tags};
pub use manifests::{ManifestContent, ManifestInfo, ManifestPush, PushedManifest, SMALL_MANIFEST};
pub use overview::{Overview, RepositoryOverview, TagOverview};
pub use referrers::{Descriptor, Referrers};
pub use uploads::{ByteChunks, Chunk, Start, Started};
pub use usage::keep_counting;

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
    pub(crate) catalog: Catalog,
    pub(crate) store: ContentStore,
    pub(crate) limits: Limits,
    pub(crate) locks: DigestLocks,
    pub(crate) grace: GraceTable,
    pub(crate) metrics: Arc<Metrics>,
    /// Work that must run to its end although the client that asked for it has left.
    pub(crate) tasks: TaskTracker,
    /// Asked before any file of content is removed.
    pub(crate) kept: kept_files::Keeper,
    /// Held by the one collection that may run.
    pub(crate) collecting: tokio::sync::Mutex<()>,
    /// Where content is placed, if anywhere.
    pub(crate) remote: Option<Arc<Remote>>,
    /// What `status` says besides the figures.
    pub(crate) notes: Vec<String>,
    hot: hot_content::HotContent,
    sessions: sessions::Sessions,
    transfers: Arc<Semaphore>,
    large_manifests: Arc<Semaphore>,
    pushes: push_report::PushReports,
    overviews: overview::Overviews,
}

/// How many manifests above [`SMALL_MANIFEST`] are in memory at once; bounds what hostile ones cost.
const LARGE_MANIFESTS: usize = 16;

impl Registry {
    /// Takes up the sessions that an earlier process left. Blocking.
    pub fn open(
        catalog: Catalog,
        store: ContentStore,
        limits: Limits,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let sessions = sessions::Sessions::open(&store)?;
        metrics.uploads_open.set(i64::try_from(sessions.count()).unwrap_or(i64::MAX));
        Ok(Registry { sessions, ..Registry::open_to_read(catalog, store, limits, metrics) })
    }

    /// For reads only: without the sessions that an earlier process left.
    pub fn open_to_read(catalog: Catalog, store: ContentStore, limits: Limits, metrics: Arc<Metrics>) -> Self {
        Registry {
            grace: GraceTable::new(limits.grace),
            transfers: Arc::new(Semaphore::new(limits.max_transfers)),
            large_manifests: Arc::new(Semaphore::new(LARGE_MANIFESTS)),
            locks: DigestLocks::new(),
            kept: kept_files::Keeper::default(),
            collecting: tokio::sync::Mutex::new(()),
            tasks: TaskTracker::new(),
            remote: None,
            notes: Vec::new(),
            hot: hot_content::HotContent::default(),
            pushes: push_report::PushReports::new(),
            overviews: overview::Overviews::new(),
            catalog,
            store,
            limits,
            metrics,
            sessions: sessions::Sessions::default(),
        }
    }

    /// The same with a backend; its catalog was opened with [`Remote::wanted`] of that.
    #[must_use]
    pub fn placing_at(self, remote: Remote) -> Self {
        Registry { remote: Some(Arc::new(remote)), ..self }
    }

    /// The same with a sentence that its operator should read.
    #[must_use]
    pub fn noting(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    /// What the operator should read.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether this node could be lost now, by its records; `None` where it is the only place anyway.
    pub fn durability(&self) -> Option<Durability> {
        Some(self.remote.as_ref()?.durability(self.catalog.backlog(), self.catalog.unsettled_count()))
    }

    /// The catalog, for maintenance and status.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The content store, for maintenance and status.
    pub fn store(&self) -> &ContentStore {
        &self.store
    }

    /// Nothing new is begun while the disk fails: what comes would fail at its end, after all its bytes.
    pub(crate) fn check_store(&self) -> Result<(), Error> {
        if self.store.is_troubled() { Err(Error::StoreTroubled) } else { Ok(()) }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Waits for work whose client has left; call it after the last connection is closed.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Removes the files of content that lost its last holder. A failure is left to the sweep.
    pub(crate) async fn remove_orphans(&self, orphaned: Vec<Digest>) -> u64 {
        let mut removed = 0;
        for digest in orphaned {
            match self.remove_if_unheld(&digest).await {
                Ok(true) => removed += 1,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%digest, %error, "could not remove content that nobody holds, the sweep will");
                }
            }
        }
        removed
    }

    /// Removes the file of `digest` unless somebody holds it, which is asked under the digest's lock.
    pub(crate) async fn remove_if_unheld(&self, digest: &Digest) -> Result<bool, Error> {
        let guard = self.locks.lock(digest).await;
        self.remove_unheld(guard, digest).await
    }

    /// The same for those who have the lock. Not while the catalog cannot be written: facts that were in flight when it
    /// failed may turn out to stand at the next start, and to need the file.
    pub(crate) async fn remove_unheld(&self, lock: DigestLock, digest: &Digest) -> Result<bool, Error> {
        if self.catalog.state() != CatalogState::Ready {
            return Err(Error::Unavailable);
        }
        // In this order: what a backup needs was held when it began, so content that was not is none of its business.
        if self.catalog.is_held(digest)? || self.kept.is_asked_for() {
            return Ok(false);
        }
        let digest = digest.clone();
        self.blocking_with(lock, move |store| store.remove(&digest)).await
    }

    /// Keeps all files of content until the guard is dropped: nothing is swept or evicted meanwhile.
    pub fn keep_files(&self) -> KeptFiles {
        self.kept.keep()
    }

    /// Runs file work that needs a guard, and keeps that until the work is done: whoever waits for it may have left.
    pub(crate) async fn blocking_with<G, T, F>(&self, guard: G, work: F) -> Result<T, Error>
    where
        G: Send + 'static,
        T: Send + 'static,
        F: FnOnce(&ContentStore) -> Result<T, StoreError> + Send + 'static,
    {
        self.blocking(move |store| {
            let result = work(store);
            drop(guard);
            result
        })
        .await
    }

    /// Runs file work on a blocking thread.
    pub(crate) async fn blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&ContentStore) -> Result<T, StoreError> + Send + 'static,
    {
        let store = self.store.clone();
        Ok(tokio::task::spawn_blocking(move || work(&store)).await??)
    }

    /// Runs index pages on a blocking thread: they may touch the disk many times.
    pub(crate) async fn reading<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Catalog) -> Result<T, Error> + Send + 'static,
    {
        let catalog = self.catalog.clone();
        tokio::task::spawn_blocking(move || work(&catalog)).await?
    }

    /// Starts a blob's grace period anew; waits if it is just being collected.
    pub(crate) async fn touch(&self, repository: &crate::oci::RepositoryName, digest: &Digest) {
        if self.grace.touch(repository, digest) == Touch::BeingCollected {
            drop(self.locks.lock(digest).await);
            let _ = self.grace.touch(repository, digest);
        }
    }
}
