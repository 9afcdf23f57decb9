//! Builds the index from the journal: all of it, or the facts that an index lacks.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::index::ballast::{Ballast, Lend, is_full};
use super::index::directory::IndexDirectory;
use super::index::{Fault, Index, Stamp, View, project};
use super::journal::{FactsSinceError, JournalReader, ReplayError};
use super::options::OpenCatalogError;
use super::progress::Progress;
use crate::catalog::fact::Record;

/// Most facts applied as one sled batch while no reads run.
const CHUNK_FACTS: usize = 4096;

/// Most changed keys of a chunk. A single manifest may change thousands.
const CHUNK_KEYS: usize = 8192;

/// Bytes that the log gets before a chunk.
const CHUNK_BYTES: u64 = 8 << 20;

/// Bytes that the log gets before a batch, and for each unit of its weight. sled writes whole segments of 512 KiB. After a
/// few changes of a page, it writes that page again.
const AHEAD: u64 = 1 << 20;
const WRITTEN_BYTES: u64 = 1 << 10;

/// Further attempts to open a database on a full disk.
const FULL_ATTEMPTS: u32 = 4;

/// Attempts to open a database that is still being closed, and the pause between them.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// How long a rebuild may read no fact before it is stuck.
const STUCK_REBUILD: Duration = Duration::from_mins(1);

/// Interval at which a wait for work on a database checks its conditions.
const LOOK: Duration = Duration::from_millis(10);

/// Builds indexes of one journal in one directory.
#[derive(Clone, Debug)]
pub(super) struct Workshop {
    pub(super) directory: IndexDirectory,
    pub(super) cache_bytes: u64,
    /// The journal's id.
    pub(super) journal: String,
    /// Progress of the current rebuild.
    pub(super) progress: Arc<Progress>,
    /// Space for the index on a full disk; `None`: none is kept.
    pub(super) ballast: Option<Ballast>,
}

/// Why an index could not be built or updated.
#[derive(Debug, thiserror::Error)]
pub(super) enum RebuildError {
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Directory(#[from] io::Error),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("the facts that it lacks were compacted")]
    Compacted,
    #[error("the index is in use")]
    Locked,
    #[error("the deadline has passed")]
    Late,
    #[error("sled does not return")]
    Stuck,
    #[error("the node is stopping")]
    Stopped,
}

/// Called a hundred times a second during a rebuild. An error ends the rebuild.
pub(super) type Between<'a> = dyn FnMut() -> Result<(), RebuildError> + 'a;

impl From<RebuildError> for OpenCatalogError {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::Replay(error) => OpenCatalogError::Replay(error),
            RebuildError::Directory(error) => OpenCatalogError::Directory(error),
            RebuildError::Locked => OpenCatalogError::Locked,
            RebuildError::Late => OpenCatalogError::Late,
            error => OpenCatalogError::Index(error.to_string()),
        }
    }
}

impl Workshop {
    /// Opens a database. Retries without sled's snapshots if it fails, and for a while if it is still being closed.
    pub(super) fn open(&self, generation: u64) -> Result<Index, RebuildError> {
        match self.open_unlocked(generation) {
            Err(RebuildError::Fault(_)) => {
                self.directory.remove_snapshots(generation)?;
                self.open_unlocked(generation)
            }
            outcome => outcome,
        }
    }

    fn open_unlocked(&self, generation: u64) -> Result<Index, RebuildError> {
        let path = self.directory.database(generation);
        let (mut locked, mut full) = (0, 0);
        self.free_some();
        loop {
            match Index::open(&path, generation, self.cache_bytes, &self.journal) {
                Err(fault) if is_lock(&fault) && locked < LOCK_ATTEMPTS => {
                    locked += 1;
                    thread::sleep(LOCK_PAUSE);
                }
                Err(fault) if is_lock(&fault) => return Err(RebuildError::Locked),
                // Another program may have taken what was freed.
                Err(Fault::Engine(sled::Error::Io(error))) if is_full(&error) && full < FULL_ATTEMPTS => {
                    full += 1;
                    self.free_some();
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// For sled's small files. If nothing is freed, they need what is free.
    fn free_some(&self) {
        if let Some(ballast) = &self.ballast {
            let _ = ballast.free_some();
        }
    }

    /// Builds an index under the next number, and returns it with the number of facts it was built from. `meanwhile` is
    /// called a hundred times a second, and can break the rebuild off. A crash leaves a database without an applied
    /// sequence, which is never used.
    pub(super) fn rebuild(
        &self,
        journal: &JournalReader,
        meanwhile: &mut Between<'_>,
    ) -> Result<(Index, u64), RebuildError> {
        let generation = self.directory.next()?;
        self.progress.begin(journal.last_sequence());
        let (workshop, journal) = (self.clone(), journal.clone());
        let build = move || workshop.build(generation, &journal);
        let outcome = on_its_own_thread(&self.progress, STUCK_REBUILD, meanwhile, build);
        if outcome.is_err() {
            // Remove it, since it is useless, and attempts may be many. The next start removes any remains.
            let _ = self.remove_failed(generation);
        }
        outcome
    }

    /// Removes a database that sled cannot use any more. The next one gets its space.
    pub(super) fn remove_failed(&self, generation: u64) -> io::Result<()> {
        match &self.ballast {
            Some(ballast) => ballast.take_back(generation),
            None => self.directory.remove(generation),
        }
    }

    /// Removes all databases, so that the next rebuild has their space.
    pub(super) fn clear(&self) {
        let generations = self.directory.generations();
        let removed = generations.and_then(|all| all.into_iter().try_for_each(|one| self.remove_failed(one)));
        if let Err(error) = removed.and_then(|()| self.directory.remove_damaged()) {
            tracing::warn!(%error, "old indexes cannot be removed");
        }
    }

    /// Keeps space for later batches and the next rebuild. Where none can be kept, they need what is free.
    pub(super) fn keep_space(&self, generation: u64) {
        if let Some(ballast) = &self.ballast
            && let Err(error) = ballast.fill(generation)
        {
            tracing::debug!(%error, "no space is kept for the index");
        }
    }

    /// Gives the log of this database the space that a batch of this weight needs.
    pub(super) fn lend_space(&self, generation: u64, weight: u64) {
        if let Some(ballast) = &self.ballast
            && let Err(error) = ballast.lend(generation, AHEAD + weight * WRITTEN_BYTES, Lend::Spare)
        {
            tracing::debug!(%error, "the index gets no space for a batch");
        }
    }

    fn build(&self, generation: u64, journal: &JournalReader) -> Result<(Index, u64), RebuildError> {
        let index = self.open_unlocked(generation)?;
        match self.fill(&index, journal) {
            Ok(facts) => Ok((index, facts)),
            Err(error) => {
                index.abandon();
                Err(error)
            }
        }
    }

    fn fill(&self, index: &Index, journal: &JournalReader) -> Result<u64, RebuildError> {
        let records = journal.replay_state()?;
        let sequence = records.last_sequence();
        let facts = self.apply_records(index, records, |_| None)?;
        // A snapshot's records are sorted by key and omit what was removed. So the index has a sequence only from here
        // on.
        index.apply(View::new(index).into_changes(), Some(sequence))?;
        Ok(facts)
    }

    /// Applies to an index at `from` the facts up to the end of the journal. Returns their number.
    pub(super) fn catch_up(&self, index: &Index, journal: &JournalReader, from: u64) -> Result<u64, RebuildError> {
        let records = journal.facts_since(from).map_err(|error| match error {
            FactsSinceError::Compacted { .. } => RebuildError::Compacted,
            FactsSinceError::Read(error) => RebuildError::Replay(error),
        })?;
        self.apply_records(index, records, |record| Some(record.sequence))
    }

    fn apply_records(
        &self,
        index: &Index,
        records: impl Iterator<Item = Result<Record, ReplayError>>,
        applied: impl Fn(&Record) -> Option<u64>,
    ) -> Result<u64, RebuildError> {
        let mut records = records.peekable();
        let mut facts = 0;
        while records.peek().is_some() {
            let mut view = View::new(index);
            let mut last = None;
            for record in records.by_ref().take(CHUNK_FACTS) {
                let record = record?;
                let stamp = Stamp { sequence: record.sequence, time: record.time };
                project(&record.fact, stamp, &mut view)?;
                last = applied(&record);
                facts += 1;
                self.progress.step();
                if view.len() >= CHUNK_KEYS {
                    break;
                }
            }
            if let Some(ballast) = &self.ballast {
                // If there is none, sled takes what is free.
                let _ = ballast.lend(index.generation(), CHUNK_BYTES, Lend::All);
            }
            index.apply(view.into_changes(), last)?;
            // sled uses a segment of its log again once what replaced it is written.
            index.flush()?;
        }
        Ok(facts)
    }
}

/// Waits for work that calls sled, which may hang on a failing disk. A thread without progress for `patience` is
/// abandoned, with all that it owns.
pub(super) fn on_its_own_thread<T: Send + 'static>(
    progress: &Progress,
    patience: Duration,
    meanwhile: &mut Between<'_>,
    work: impl FnOnce() -> Result<T, RebuildError> + Send + 'static,
) -> Result<T, RebuildError> {
    meanwhile()?;
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("index-rebuild".into()).spawn(move || {
        if let Err(unheard) = sender.send(work()) {
            // It may own a database, see `Index::abandon`.
            mem::forget(unheard);
        }
    })?;
    let (mut facts, mut since) = (progress.facts(), Instant::now());
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Disconnected) => return Err(Fault::Panicked.into()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        meanwhile()?;
        if progress.facts() != facts {
            (facts, since) = (progress.facts(), Instant::now());
        } else if since.elapsed() > patience {
            return Err(RebuildError::Stuck);
        }
    }
}

/// True if the database is locked. sled reports that only in the error's text.
fn is_lock(fault: &Fault) -> bool {
    matches!(fault, Fault::Engine(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock"))
}
