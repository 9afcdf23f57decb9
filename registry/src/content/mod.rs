//! Reads, records and removes the content of this node, which is in its catalog and its files.
//!
//! This layer knows no copies elsewhere and no clients. The layers above share one [`LocalContent`].

mod error;
mod hot;
mod kept_files;
mod locks;
mod read;
mod remove;
pub(crate) mod unit_hashes;
pub(crate) mod unit_roots;
mod usage;

use std::path::PathBuf;
use std::sync::Arc;

use content_store::{ContentStore, StoreError};
use tokio_util::task::TaskTracker;

use crate::catalog::Catalog;
use crate::telemetry::metrics::Metrics;

pub use error::Error;
pub use kept_files::KeptFiles;
pub(crate) use locks::{DigestLock, DigestLocks};
pub use usage::keep_counting;

/// The catalog, the files, and what all work on both shares. A process has one.
#[derive(Debug)]
pub struct LocalContent {
    pub(crate) catalog: Catalog,
    pub(crate) store: ContentStore,
    pub(crate) locks: DigestLocks,
    pub(crate) metrics: Arc<Metrics>,
    /// Work that runs to its end even if its client leaves.
    pub(crate) tasks: TaskTracker,
    /// Checked before any file of content is removed.
    pub(crate) kept: kept_files::Keeper,
    pub(crate) hot: hot::HotContent,
    /// Directory of the hashes of units; `None` on a node without a backend.
    pub(crate) unit_hashes: Option<PathBuf>,
}

impl LocalContent {
    /// The content in this catalog and this store, which belong together.
    pub fn new(catalog: Catalog, store: ContentStore, metrics: Arc<Metrics>) -> Self {
        LocalContent {
            catalog,
            store,
            locks: DigestLocks::new(),
            metrics,
            tasks: TaskTracker::new(),
            kept: kept_files::Keeper::default(),
            hot: hot::HotContent::default(),
            unit_hashes: None,
        }
    }

    /// Stores unit hashes in this directory, which must exist.
    #[must_use]
    pub fn with_unit_hashes(self, directory: PathBuf) -> Self {
        LocalContent { unit_hashes: Some(directory), ..self }
    }

    /// Runs file work on a blocking thread. The guard lives until the work ends, even if the caller leaves.
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

    /// Reads index pages on a blocking thread, since they may touch the disk many times.
    pub(crate) async fn reading<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce(&Catalog) -> Result<T, E> + Send + 'static,
    {
        let catalog = self.catalog.clone();
        tokio::task::spawn_blocking(move || work(&catalog)).await.map_err(Error::from)?
    }
}
