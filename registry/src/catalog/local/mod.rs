//! The catalog of one node: a journal that is the truth, an index that is a view of it, and one writer for both.

mod backlog;
mod check;
mod check_places;
mod compaction;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod index;
pub mod journal;
mod open;
mod open_to_read;
mod options;
mod progress;
mod queue;
mod read;
mod read_places;
mod rebuild;
mod recovery;
mod request;
mod shared;
mod writer;

#[cfg(test)]
mod tests;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use content_store::Room;
use tokio::sync::oneshot;

use self::backlog::BacklogCounter;
use self::compaction::Compactor;
use self::index::ballast::Ballast;
use self::index::directory::IndexDirectory;
use self::index::{Fault, Index};
use self::journal::{AppendKind, Journal, JournalId, JournalReader};
use self::queue::{NotQueued, Submit, queues};
use self::rebuild::Workshop;
use self::request::Request;
use self::shared::Shared;
use self::writer::Writer;
use crate::catalog::command::{Command, CommitError, Committed, Precondition, Refusal};
use crate::oci::{Digest, FixedTags, RepositoryName};

pub use journal::{FactsSinceError, Replay, ReplayError};
pub use options::{CatalogOptions, Clock, IndexOrigin, OpenCatalogError, OpenReport, RebuildReason};
pub use progress::Progress;
pub use shared::{CatalogState, CatalogStatus};

/// How long closing waits for the writer, which sled may block for ever on a failing disk.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);

/// Longest call of the writer to sled. No call syncs, so usual calls take milliseconds.
const STUCK_IN_SLED: Duration = Duration::from_mins(1);

/// The catalog. Clones share it. It closes on [`Catalog::close`], or when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Catalog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    queue: Submit,
    journal: JournalReader,
    journal_dir: PathBuf,
    /// Signals the end of the writer.
    writer: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

impl Catalog {
    /// Opens journal and index, and starts the writer. Blocks, for minutes if a large index must be rebuilt.
    pub fn open(options: CatalogOptions) -> Result<(Self, OpenReport), OpenCatalogError> {
        let started = Instant::now();
        let mut journal_options = options.journal.clone();
        journal_options.known_end = known_end(&options.index_dir);
        let (mut journal, opened) = Journal::open(&options.journal_dir, options.expected_journal, journal_options)?;
        // That of the last run is gone. It may use the space that is kept free, since that is what this is for.
        journal.allocate_ahead(AppendKind::Releasing);
        let directory = IndexDirectory::open(options.index_dir.clone())?;
        let (least, reserve) = (options.index_ballast_bytes, options.index_reserve_bytes);
        let ballast = (least > 0).then(|| Ballast::new(directory.clone(), least, reserve));
        let workshop = Workshop {
            directory,
            cache_bytes: options.index_cache_bytes,
            journal: opened.id.to_string(),
            progress: options.progress,
            ballast,
        };
        let reader = journal.reader();
        let (index, origin) = open::open_index(&workshop, &reader, &opened, &options.boot_id, options.clock.now_ms())?;
        let report = OpenReport {
            journal: opened.id,
            created: opened.created,
            cut: opened.cut,
            sequence: opened.last_sequence,
            index: origin,
            entries: index.meta().entries,
            took: started.elapsed(),
        };
        let counter = match options.placement {
            Some(wanted) => {
                Some(BacklogCounter::new(wanted, &index).map_err(|fault| OpenCatalogError::Index(fault.to_string()))?)
            }
            None => None,
        };
        let progress = Arc::clone(&workshop.progress);
        let shared = Arc::new(Shared::new(index, counter, progress, opened.last_sequence, opened.snapshot_sequence));
        let (queue, waiting) = queues(options.queue_requests);
        let writer = Writer {
            shared: Arc::clone(&shared),
            journal,
            queue: waiting,
            room: Room::new(workshop.directory.path(), reserve),
            workshop,
            compactor: Compactor::new(queue.ordinary.downgrade()),
            clock: options.clock,
            boot: options.boot_id,
            most_abandoned: options.most_index_failures,
            on_index_lost: options.on_index_lost,
            failed_rebuilds: 0,
        };
        watch(&shared, options.on_index_lost)?;
        let (ends, ended) = std::sync::mpsc::channel();
        thread::Builder::new().name("catalog-writer".into()).spawn({
            let guard = PanicGuard(Arc::clone(&shared));
            move || {
                let _guard = guard;
                writer.run();
                let _ = ends.send(());
            }
        })?;
        let (journal_dir, writer) = (options.journal_dir, Mutex::new(Some(ended)));
        Ok((Catalog { inner: Arc::new(Inner { shared, queue, journal: reader, journal_dir, writer }) }, report))
    }

    /// Runs all commands or none, durably. Dropping the future does not undo them.
    pub async fn commit(&self, commands: Vec<Command>) -> Result<Committed, CommitError> {
        self.check_open()?;
        let (answer, outcome) = oneshot::channel();
        let request = Request::new(commands, self.inner.shared.index().as_deref(), answer);
        self.inner.queue.send(request).await.map_err(|why| self.not_queued(why))?;
        outcome.await.unwrap_or_else(|_| Err(self.writer_gone()))
    }

    /// [`Catalog::commit`] for threads outside an async runtime.
    pub fn commit_blocking(&self, commands: Vec<Command>) -> Result<Committed, CommitError> {
        self.check_open()?;
        let (answer, outcome) = oneshot::channel();
        let request = Request::new(commands, self.inner.shared.index().as_deref(), answer);
        self.inner.queue.blocking_send(request).map_err(|why| self.not_queued(why))?;
        outcome.blocking_recv().unwrap_or_else(|_| Err(self.writer_gone()))
    }

    /// Removes a manifest and all its tags from a repository. If the tags exceed one batch, several batches remove them
    /// first, and other requests are served in between.
    ///
    /// Durable steps, and what a crash after each leaves behind: each batch of tags: the manifest with fewer tags, as
    /// if a client had deleted those; the last batch: the manifest is gone. A fixed tag among more than one batch stops
    /// the removal there, too.
    pub async fn delete_manifest(
        &self,
        repository: RepositoryName,
        digest: Digest,
        precondition: Option<Precondition>,
        fixed: FixedTags,
    ) -> Result<Committed, CommitError> {
        loop {
            let (name, manifest) = (repository.clone(), digest.clone());
            let (precondition, fixed) = (precondition.clone(), fixed.clone());
            let delete = Command::DeleteManifest {
                repository: name.clone(),
                digest: manifest.clone(),
                precondition,
                fixed: fixed.clone(),
            };
            match self.commit(vec![delete]).await {
                Err(CommitError::Refused(Refusal::TooManyTags)) => {}
                outcome => return outcome,
            }
            self.commit(vec![Command::UntagManifest { repository: name, digest: manifest, fixed }]).await?;
        }
    }

    fn check_open(&self) -> Result<(), CommitError> {
        match self.inner.shared.state() {
            CatalogState::Ready => Ok(()),
            CatalogState::ReadOnly => Err(CommitError::ReadOnly),
            CatalogState::Rebuilding | CatalogState::Closed => Err(CommitError::Unavailable),
        }
    }

    fn not_queued(&self, why: NotQueued) -> CommitError {
        match why {
            NotQueued::Full => CommitError::Unavailable,
            NotQueued::Closed => self.writer_gone(),
        }
    }

    /// The error when the writer has ended. If it was not told to end, it failed in the middle of a commit.
    fn writer_gone(&self) -> CommitError {
        if self.inner.shared.is_stopping() { CommitError::Unavailable } else { CommitError::ReadOnly }
    }

    /// All facts after `sequence` up to now, in order. Reading them may block on the disk.
    pub fn facts_since(&self, sequence: u64) -> Result<Replay, FactsSinceError> {
        self.inner.journal.facts_since(sequence)
    }

    /// The whole state as facts: those of the snapshot, then those after it. Reading them may block on the disk.
    pub fn replay_state(&self) -> Result<Replay, ReplayError> {
        self.inner.journal.replay_state()
    }

    /// Whether the catalog can be read and written.
    pub fn state(&self) -> CatalogState {
        self.inner.shared.state()
    }

    /// Bytes of the journal's files. Blocks.
    pub fn journal_bytes(&self) -> u64 {
        directory_bytes(&self.inner.journal_dir)
    }

    /// The catalog's state, with figures.
    pub fn status(&self) -> CatalogStatus {
        let shared = &self.inner.shared;
        CatalogStatus {
            state: shared.state(),
            sequence: shared.sequence.load(Ordering::Acquire),
            snapshot_sequence: shared.snapshot_sequence.load(Ordering::Acquire),
            index_entries: shared.index().map_or(0, |index| index.meta().entries),
            rebuilds: shared.rebuilds.load(Ordering::Acquire),
            rebuilding: (shared.state() == CatalogState::Rebuilding)
                .then(|| (shared.progress.facts(), shared.progress.at_most())),
            batches: shared.batches.load(Ordering::Relaxed),
        }
    }

    /// Discards the index as damaged, so that the writer rebuilds it. Reads and commits are refused until then.
    pub fn mark_damaged(&self) {
        if let Some(index) = self.inner.shared.index() {
            self.distrust(&index, &Fault::Sum);
        }
    }

    fn distrust(&self, index: &Index, fault: &Fault) {
        if self.inner.shared.distrust(index, fault) {
            self.inner.queue.wake();
        }
    }

    /// Ends the writer after its current batch, waits for a running compaction, and closes the index so that the next
    /// start can use it. From then on commits and reads are refused. Blocks.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.queue.wake();
        let Some(ended) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        match ended.recv_timeout(CLOSE_PATIENCE) {
            Ok(()) => {}
            Err(RecvTimeoutError::Disconnected) => tracing::error!("the catalog's writer panicked"),
            Err(RecvTimeoutError::Timeout) => {
                tracing::error!("the catalog does not close, so it is left as it is, and the next start repairs it");
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// The last known sequence of the journal, from the mark that the last run left in the index directory.
pub fn known_end(index_dir: &std::path::Path) -> Option<(JournalId, u64)> {
    let known = index::directory::mark_in(index_dir)?.journal?;
    Some((known.id.parse().ok()?, known.sequence))
}

/// Ends the process if sled blocks the writer, whose thread owns the journal, so no other thread can replace it.
fn watch(shared: &Arc<Shared>, on_index_lost: fn(&str)) -> std::io::Result<()> {
    let shared = Arc::downgrade(shared);
    let look = move || {
        while let Some(shared) = shared.upgrade() {
            if shared.stuck_for() > STUCK_IN_SLED {
                return on_index_lost("sled does not return");
            }
            drop(shared);
            thread::sleep(Duration::from_secs(1));
        }
    };
    thread::Builder::new().name("catalog-watch".into()).spawn(look).map(drop)
}

/// Makes the catalog read-only if the writer panics, since it may have failed in the middle of a commit.
struct PanicGuard(Arc<Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.read_only.store(true, Ordering::Release);
        }
    }
}

/// The expected reason for an index rebuild at the next start, judged without opening the index.
pub fn foreseen_rebuild(index_dir: &std::path::Path) -> std::io::Result<Option<RebuildReason>> {
    open::foreseen(&IndexDirectory::to_read(index_dir.to_owned()), &options::this_boot())
}

fn directory_bytes(directory: &std::path::Path) -> u64 {
    let sizes = fs::read_dir(directory).into_iter().flatten().flatten().filter_map(|entry| entry.metadata().ok());
    sizes.map(|metadata| metadata.len()).sum()
}
