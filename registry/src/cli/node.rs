//! Opens a data directory as a node: lock, journal, index, content, upload sessions.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, anyhow};
use backends::Backend;
use content_store::ContentStore;
use serving::PERMIT_PATIENCE;
use tempfile::TempDir;

use super::attached::Beside;
use super::{backend, process};
use crate::catalog::local::known_end;
use crate::catalog::{Catalog, CatalogOptions, Clock, OpenReport, Progress};
use crate::config::{Config, DescriptorSizes};
use crate::content::LocalContent;
use crate::data_dir::{self, DataDir, Kind};
use crate::placement::{Domain, Remote, names_in};
use crate::service::{Limits, Registry, left_by_uploads};
use crate::telemetry::metrics::Metrics;

/// An open node that is not served yet.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Arc<Metrics>,
    /// How the journal and index were opened.
    pub(super) report: OpenReport,
    /// The backend that keeps copies.
    pub(super) backend: Option<Arc<dyn Backend>>,
    /// The temporary index of a node that is opened only for reading.
    _scratch: Option<TempDir>,
    /// The last field, so that the lock is released after all else is closed.
    pub(super) data: DataDir,
}

impl Node {
    /// Opens a node for serving or for a command. Blocks, for minutes if a large index must be rebuilt. Fails if the
    /// directory cannot be written.
    pub(super) fn open(config: &Config, beside: Beside, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        Node::open_showing(config, beside, metrics, Arc::default())
    }

    /// Like [`Node::open`]. `progress` shows the progress of an index rebuild.
    pub(super) fn open_showing(
        config: &Config,
        beside: Beside,
        metrics: Arc<Metrics>,
        progress: Arc<Progress>,
    ) -> anyhow::Result<Self> {
        let mut data = DataDir::open(&config.storage.data, Kind::Registry)?;
        let backend = connect(config, &data, &beside, &metrics)?;
        let mut options = options(config, &data, data.index(), backend.as_deref(), &beside)?;
        options.progress = progress;
        let (store, (catalog, report)) =
            open_both(data.path(), left_by_uploads(config.storage.reserve.bytes()), options)?;
        if data.journal_id().is_none() {
            data.set_journal_id(report.journal.to_string())?;
        }
        if backend.is_some() {
            for directory in [data.resume(), data.unit_hashes()] {
                std::fs::create_dir_all(directory)?;
            }
        }
        let content = content(&data, (catalog, store), backend.is_some(), &metrics);
        let mut registry = Registry::open(content, limits(config))?;
        if let Some(backend) = &backend {
            registry = registry.with_remote(remote(config, &data, backend, &beside));
        }
        if let Some(note) = beside.note {
            registry = registry.with_note(note);
        }
        Ok(Node { registry: Arc::new(registry), metrics, report, backend, _scratch: None, data })
    }

    /// Opens a node only for reading, and writes nothing to the data directory, which may be a read-only copy. The
    /// index is rebuilt in the system's temporary directory. Blocks for as long as that takes.
    pub(super) fn open_to_read(config: &Config, beside: Beside) -> anyhow::Result<Self> {
        let data = DataDir::open_to_read(&config.storage.data, Kind::Registry)?;
        let scratch = scratch()?;
        let node = Node::of_files(config, beside, data, scratch.path(), None)?;
        Ok(Node { _scratch: Some(scratch), ..node })
    }

    /// Opens a node only for reading, in a directory locked by the caller, with its index in the directory `index`.
    /// Gives up soon after the deadline.
    pub(super) fn of_files(
        config: &Config,
        beside: Beside,
        data: DataDir,
        index: &Path,
        deadline: Option<Instant>,
    ) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new());
        let backend = connect(config, &data, &beside, &metrics)?;
        let mut options = options(config, &data, index.into(), backend.as_deref(), &beside)?;
        options.journal.known_end = known_end(&data.index());
        options.deadline = deadline;
        let (catalog, report) = Catalog::open_to_read(options)?;
        let store = ContentStore::open_to_read(data.path());
        let content = content(&data, (catalog, store), backend.is_some(), &metrics);
        let mut registry = Registry::open_to_read(content, limits(config));
        if let Some(backend) = &backend {
            registry = registry.with_remote(remote(config, &data, backend, &beside));
        }
        if let Some(note) = beside.note {
            registry = registry.with_note(note);
        }
        Ok(Node { registry: Arc::new(registry), metrics, report, backend, _scratch: None, data })
    }
}

/// A directory for the index of one command.
pub(super) fn scratch() -> anyhow::Result<TempDir> {
    tempfile::tempdir().context("create a temporary directory for the index (set TMPDIR to choose where)")
}

fn options(
    config: &Config,
    data: &DataDir,
    index: PathBuf,
    backend: Option<&dyn Backend>,
    beside: &Beside,
) -> anyhow::Result<CatalogOptions> {
    let mut options = CatalogOptions::new(data.journal(), index);
    options.index_cache_bytes = config.storage.index_cache.bytes();
    options.index_reserve_bytes = config.storage.reserve.bytes();
    options.journal.keep_free = config.storage.reserve.bytes();
    options.expected_journal =
        data.journal_id().map(str::parse).transpose().context("skyberth.json has no valid journal id")?;
    // Nothing is looked up for this, so that a command on a stopped node is not delayed.
    let domains = backend::domains(&config.storage, beside.portal.is_some());
    let here: Vec<bool> = domains.iter().map(Domain::is_plainly_here).collect();
    options.placement = backend.map(|backend| Remote::wanted(backend, &here));
    options.on_index_lost = process::end_without_index;
    Ok(options)
}

fn content(
    data: &DataDir,
    (catalog, store): (Catalog, ContentStore),
    has_backend: bool,
    metrics: &Arc<Metrics>,
) -> LocalContent {
    let content = LocalContent::new(catalog, store, Arc::clone(metrics));
    if has_backend { content.with_unit_hashes(data.unit_hashes()) } else { content }
}

/// The backend, with its endpoints named as they were when they were last asked.
fn connect(
    config: &Config,
    data: &DataDir,
    beside: &Beside,
    metrics: &Metrics,
) -> anyhow::Result<Option<Arc<dyn Backend>>> {
    backend::backend(
        &config.storage,
        beside.portal.as_ref(),
        &names_in(&data_dir::endpoints(data.path())),
        &metrics.backend,
    )
}

fn remote(config: &Config, data: &DataDir, backend: &Arc<dyn Backend>, beside: &Beside) -> Remote {
    let (settings, has_attached) = (backend::settings(&config.storage), beside.portal.is_some());
    let domains = backend::domains(&config.storage, has_attached);
    let remote = Remote::new(Arc::clone(backend), settings, Clock::system(), data.resume());
    remote.located(has_attached, domains, data_dir::endpoints(data.path()))
}

/// Opens content store and catalog at the same time. They are independent, and both wait for the disk, most of all on a
/// new node. A crash in between may leave any part of the directories that they create. The next start completes them.
fn open_both(
    directory: &Path,
    reserve: u64,
    options: CatalogOptions,
) -> anyhow::Result<(ContentStore, (Catalog, OpenReport))> {
    thread::scope(|scope| {
        let store = scope.spawn(|| ContentStore::open_with_reserve(directory, reserve));
        let catalog = Catalog::open(options);
        let store = store.join().map_err(|_| anyhow!("opening the content store panicked"))?;
        // The store's error first, since it concerns the directory itself.
        Ok((store?, catalog?))
    })
}

fn limits(config: &Config) -> Limits {
    Limits {
        reference_checks: config.registry.reference_checks,
        descriptor_sizes: config.registry.descriptor_sizes == DescriptorSizes::Check,
        delete: config.registry.delete,
        delete_referenced_blobs: config.registry.delete_referenced_blobs,
        max_manifest_size: config.registry.max_manifest_size.bytes(),
        max_references: config.registry.max_references,
        max_blob_size: config.registry.max_blob_size.bytes(),
        page_size: config.registry.page_size,
        max_tags_per_put: config.registry.max_tags_per_put,
        max_uploads: config.registry.max_uploads,
        max_transfers: config.registry.max_transfers,
        permit_patience: PERMIT_PATIENCE,
        reserve: config.storage.reserve.bytes(),
        grace: config.gc.grace.duration(),
        upload_expiry: config.gc.upload_expiry.duration(),
    }
}
