//! Builds the index from the journal: all of it, or the facts that an index lacks.

use std::io;
use std::thread;
use std::time::Duration;

use super::index::directory::IndexDirectory;
use super::index::{Fault, Index, Stamp, View, project};
use super::journal::{FactsSinceError, JournalReader, ReplayError};
use super::options::OpenCatalogError;
use crate::catalog::fact::Record;

/// Most facts applied as one sled batch while no reads run.
const CHUNK_FACTS: usize = 4096;

/// Most changed keys of a chunk. A single manifest may change thousands.
const CHUNK_KEYS: usize = 32_768;

/// Attempts to open a database that is still being closed, and the pause between them.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Builds indexes of one journal in one directory.
#[derive(Clone, Debug)]
pub(super) struct Workshop {
    pub(super) directory: IndexDirectory,
    pub(super) cache_bytes: u64,
    /// The journal's id.
    pub(super) journal: String,
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
}

/// Called between the chunks of a rebuild. An error ends the rebuild.
pub(super) type Between<'a> = dyn FnMut() -> Result<(), RebuildError> + 'a;

impl From<RebuildError> for OpenCatalogError {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::Replay(error) => OpenCatalogError::Replay(error),
            RebuildError::Directory(error) => OpenCatalogError::Directory(error),
            RebuildError::Locked => OpenCatalogError::Locked,
            RebuildError::Late => OpenCatalogError::Late,
            error @ (RebuildError::Fault(_) | RebuildError::Compacted) => OpenCatalogError::Index(error.to_string()),
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
        for _ in 0..LOCK_ATTEMPTS {
            match Index::open(&path, generation, self.cache_bytes, &self.journal) {
                Err(fault) if is_lock(&fault) => thread::sleep(LOCK_PAUSE),
                outcome => return Ok(outcome?),
            }
        }
        Err(RebuildError::Locked)
    }

    /// Builds an index under the next number, and returns it with the number of facts it was built from. `between` is
    /// called between chunks. A crash leaves a database without an applied sequence, which is never used.
    pub(super) fn rebuild(
        &self,
        journal: &JournalReader,
        between: &mut Between<'_>,
    ) -> Result<(Index, u64), RebuildError> {
        let generation = self.directory.newest()?.map_or(1, |newest| newest + 1);
        let outcome = self.build(generation, journal, between);
        if outcome.is_err() {
            // Remove it, since it is useless, and attempts may be many. The next start removes any remains.
            let _ = self.directory.remove(generation);
        }
        outcome
    }

    fn build(
        &self,
        generation: u64,
        journal: &JournalReader,
        between: &mut Between<'_>,
    ) -> Result<(Index, u64), RebuildError> {
        let index = self.open_unlocked(generation)?;
        let records = journal.replay_state()?;
        let sequence = records.last_sequence();
        let facts = apply_records(&index, records, |_| None, between)?;
        // A snapshot's records are sorted by key and omit what was removed. So the index has a sequence only from here
        // on.
        index.apply(View::new(&index).into_changes(), Some(sequence))?;
        Ok((index, facts))
    }
}

/// Applies to an index at `from` the facts up to the end of the journal. Returns their number.
pub(super) fn catch_up(index: &Index, journal: &JournalReader, from: u64) -> Result<u64, RebuildError> {
    let records = journal.facts_since(from).map_err(|error| match error {
        FactsSinceError::Compacted { .. } => RebuildError::Compacted,
        FactsSinceError::Read(error) => RebuildError::Replay(error),
    })?;
    apply_records(index, records, |record| Some(record.sequence), &mut || Ok(()))
}

fn apply_records(
    index: &Index,
    records: impl Iterator<Item = Result<Record, ReplayError>>,
    applied: impl Fn(&Record) -> Option<u64>,
    between: &mut Between<'_>,
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
            if view.len() >= CHUNK_KEYS {
                break;
            }
        }
        index.apply(view.into_changes(), last)?;
        between()?;
    }
    Ok(facts)
}

/// True if the database is locked. sled reports that only in the error's text.
fn is_lock(fault: &Fault) -> bool {
    matches!(fault, Fault::Engine(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock"))
}
