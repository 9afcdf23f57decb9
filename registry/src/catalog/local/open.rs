//! Chooses the index to start with: the existing one if it is valid, otherwise a new one.

use std::io;
use std::time::Duration;

use super::index::directory::{IndexDirectory, KnownEnd, Mark};
use super::index::schema::VERSION;
use super::index::{Fault, Index};
use super::journal::{JournalReader, Opened};
use super::options::{IndexOrigin, RebuildReason};
use super::rebuild::{RebuildError, Workshop, on_its_own_thread};

/// Longest opening of an index that lacks no facts: sled reads its whole log, then all entries are checked.
const STUCK_OPENING: Duration = Duration::from_mins(5);

/// Opens the existing index and applies missing facts, or rebuilds it.
pub(super) fn open_index(
    workshop: &Workshop,
    journal: &JournalReader,
    opened: &Opened,
    boot: &str,
    time_ms: u64,
) -> Result<(Index, IndexOrigin), RebuildError> {
    let directory = &workshop.directory;
    let (mark, newest) = (directory.mark(), directory.newest()?);
    let open = Mark { boot: boot.to_owned(), clean: None, journal: Some(known_end(opened)) };
    // No old index can be trusted by mistake here, and a new journal has nothing to lose yet.
    let is_new = opened.created && mark.is_none() && newest.is_none();
    // Before sled writes anything: from now on a machine crash must be recognized.
    if let Err(error) = if is_new { directory.first_mark(&open) } else { directory.set_mark(&open) } {
        // On a full disk, go on without a mark: such an index is not trusted after a crash either, and deletes can free
        // space.
        tracing::warn!(%error, "the index cannot be marked as open");
        directory.remove_mark()?;
    }
    let because = match newest {
        None => RebuildReason::Absent,
        Some(generation) => match reuse_or_leave(workshop, generation, journal, opened, boot, mark)? {
            Ok((index, facts)) => {
                directory.keep_only(generation)?;
                let origin = if facts == 0 { IndexOrigin::Reused } else { IndexOrigin::CaughtUp { facts } };
                return Ok((index, origin));
            }
            Err(reason @ RebuildReason::Damaged(_)) => {
                directory.set_aside(generation, time_ms)?;
                reason
            }
            Err(reason) => reason,
        },
    };
    let (index, facts) = match workshop.rebuild(journal, &mut || Ok(())) {
        // The disk may have room for only one index, and the old one is useless by now.
        Err(RebuildError::Fault(_) | RebuildError::Directory(_) | RebuildError::Stuck) => {
            workshop.clear();
            workshop.rebuild(journal, &mut || Ok(()))?
        }
        built => built?,
    };
    directory.keep_only(index.generation())?;
    Ok((index, IndexOrigin::Rebuilt { facts, because }))
}

/// The end of the journal, which opening has synced.
fn known_end(opened: &Opened) -> KnownEnd {
    KnownEnd { id: opened.id.to_string(), sequence: opened.last_sequence }
}

type Reuse = Result<(Index, u64), RebuildReason>;

/// Like [`reuse`], for an index that may hang.
fn reuse_or_leave(
    workshop: &Workshop,
    generation: u64,
    journal: &JournalReader,
    opened: &Opened,
    boot: &str,
    mark: Option<Mark>,
) -> Result<Reuse, RebuildError> {
    let (owned, journal, opened, boot) = (workshop.clone(), journal.clone(), opened.clone(), boot.to_owned());
    let work = move || reuse(&owned, generation, &journal, &opened, &boot, mark.as_ref());
    match on_its_own_thread(&workshop.progress, STUCK_OPENING, &mut || Ok(()), work) {
        Err(error @ RebuildError::Stuck) => Ok(Err(RebuildReason::Damaged(error.to_string()))),
        outcome => outcome,
    }
}

/// The outer error ends the start. The inner one causes a rebuild.
fn reuse(
    workshop: &Workshop,
    generation: u64,
    journal: &JournalReader,
    opened: &Opened,
    boot: &str,
    mark: Option<&Mark>,
) -> Result<Reuse, RebuildError> {
    if !is_trusted(mark, generation, boot) {
        return Ok(Err(RebuildReason::MachineCrash));
    }
    let index = match workshop.open(generation) {
        Ok(index) => index,
        Err(RebuildError::Fault(fault)) => return Ok(Err(damaged(&fault))),
        Err(error) => return Err(error),
    };
    let applied = match judge(&index, &workshop.journal, opened) {
        Ok(applied) => applied,
        Err(reason @ RebuildReason::Damaged(_)) => {
            index.abandon();
            return Ok(Err(reason));
        }
        Err(reason) => return Ok(Err(reason)),
    };
    match workshop.catch_up(&index, journal, applied) {
        Ok(facts) => Ok(Ok((index, facts))),
        Err(RebuildError::Fault(fault)) => {
            index.abandon();
            Ok(Err(damaged(&fault)))
        }
        Err(RebuildError::Compacted) => Ok(Err(RebuildReason::OlderThanSnapshot)),
        Err(error) => Err(error),
    }
}

/// True if, by the mark, this index was closed, or the machine has not stopped since it was opened.
fn is_trusted(mark: Option<&Mark>, generation: u64, boot: &str) -> bool {
    let same_boot = |mark: &Mark| !boot.is_empty() && mark.boot == boot;
    mark.is_some_and(|mark| mark.clean == Some(generation) || (mark.clean.is_none() && same_boot(mark)))
}

/// The expected reason for an index rebuild at the next start, judged without opening the index.
pub(super) fn foreseen(directory: &IndexDirectory, boot: &str) -> io::Result<Option<RebuildReason>> {
    match directory.newest() {
        Ok(Some(generation)) if is_trusted(directory.mark().as_ref(), generation, boot) => Ok(None),
        Ok(Some(_)) => Ok(Some(RebuildReason::MachineCrash)),
        Ok(None) => Ok(Some(RebuildReason::Absent)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(RebuildReason::Absent)),
        Err(error) => Err(error),
    }
}

/// The sequence of an index, if it is a valid view of this journal.
fn judge(index: &Index, journal: &str, opened: &Opened) -> Result<u64, RebuildReason> {
    let meta = index.meta();
    if meta.version != VERSION {
        return Err(RebuildReason::OtherSchema);
    }
    if meta.journal != journal {
        return Err(RebuildReason::OtherJournal);
    }
    let applied = meta.applied.ok_or(RebuildReason::Unfinished)?;
    if applied < opened.snapshot_sequence {
        return Err(RebuildReason::OlderThanSnapshot);
    }
    if applied > opened.last_sequence {
        return Err(RebuildReason::PastJournalEnd);
    }
    index.verify().map_err(|fault| damaged(&fault))?;
    Ok(applied)
}

fn damaged(fault: &Fault) -> RebuildReason {
    RebuildReason::Damaged(fault.to_string())
}
