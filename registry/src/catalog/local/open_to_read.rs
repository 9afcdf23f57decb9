//! A read-only catalog over a journal that must not change. Each opening builds a new index in another directory.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::backlog::BacklogCounter;
use super::index::directory::IndexDirectory;
use super::journal::{self, Opened};
use super::options::{CatalogOptions, IndexOrigin, OpenCatalogError, OpenReport, RebuildReason};
use super::queue::queues;
use super::rebuild::{RebuildError, Workshop};
use super::shared::Shared;
use super::{Catalog, Inner};

impl Catalog {
    /// Opens a journal only for reading. The options' `index_dir` must be an empty directory outside the journal's, and
    /// only it is written. Commits are refused, as on a node whose journal failed. Blocks until the index is built, or
    /// until soon after the options' `deadline`.
    pub fn open_to_read(options: CatalogOptions) -> Result<(Self, OpenReport), OpenCatalogError> {
        let started = Instant::now();
        let CatalogOptions { journal_dir, index_dir, expected_journal, index_cache_bytes, placement, .. } = options;
        let (reader, opened) = journal::open_to_read(&journal_dir, expected_journal, options.journal.known_end)?;
        let Opened { id, snapshot_sequence, last_sequence, .. } = opened;
        let directory = IndexDirectory::open(index_dir)?;
        let workshop = Workshop {
            directory,
            cache_bytes: index_cache_bytes,
            journal: id.to_string(),
            progress: options.progress,
            ballast: None,
        };
        let mut in_time = || match options.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(RebuildError::Late),
            _ => Ok(()),
        };
        let (index, facts) = workshop.rebuild(&reader, &mut in_time)?;
        let report = OpenReport {
            journal: id,
            created: false,
            cut: None,
            sequence: last_sequence,
            index: IndexOrigin::Rebuilt { facts, because: RebuildReason::Absent },
            entries: index.meta().entries,
            took: started.elapsed(),
        };
        let counter = placement.map(|wanted| BacklogCounter::new(wanted, &index)).transpose();
        let counter = counter.map_err(|fault| OpenCatalogError::Index(fault.to_string()))?;
        let shared = Arc::new(Shared::new(index, counter, workshop.progress, last_sequence, snapshot_sequence));
        shared.set_read_only();
        // Never used: a read-only catalog refuses commits earlier.
        let (queue, _) = queues(1);
        let inner = Inner { shared, queue, journal: reader, journal_dir, writer: Mutex::new(None) };
        Ok((Catalog { inner: Arc::new(inner) }, report))
    }
}
