//! The work of `skyberth fsck`: lists all faults, and builds a valid journal from the valid records.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::compact::make_durable;
use super::disk::{self, SystemDisk};
use super::error::OpenError;
use super::open;
use super::reading::{self, Loaded};
use super::record::{self, Frame, JournalId, MAX_SEQUENCE, Role};
use super::segment::{self, HEADER_BYTES, SegmentHeader};
use super::snapshot::{self, SnapshotHeader, SnapshotReader, SnapshotWriter};
use super::survey::{self, Finding, Names, Survey};

/// How far the sequence of a repaired journal skips ahead: more than the number of records that can have been lost
/// without a trace.
const SKIP: u64 = 1 << 32;

/// Reads all files in use and returns all faults; empty for a valid journal. Changes nothing.
pub fn verify(directory: &Path, known_end: Option<(JournalId, u64)>) -> Result<Vec<Finding>, OpenError> {
    Ok(survey::survey(directory, known_end)?.findings)
}

/// The result of a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// Directory of all files of the old journal; `None` if nothing was damaged, and so nothing was changed.
    pub moved_to: Option<PathBuf>,
    /// The faults found.
    pub findings: Vec<Finding>,
    /// The records lost.
    pub missing: Vec<MissingRecords>,
    /// Number of records in the new journal.
    pub kept: u64,
    /// The sequence after which the new journal continues. No old or lost record can have it. So every view of the old
    /// journal is older than the new snapshot, and is rebuilt.
    pub sequence: u64,
}

/// Lost records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingRecords {
    /// All records of this range.
    Exactly {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Some of the records that a damaged snapshot covered. Their segments are gone. Facts of the snapshot that are
    /// valid were kept, even if a later, lost record may have replaced them.
    SomeOf {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Damage after the last readable record. It may have contained records.
    After {
        /// The last readable record.
        sequence: u64,
    },
}

impl std::fmt::Display for MissingRecords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MissingRecords::Exactly { from, to } => write!(f, "records {from} to {to}"),
            MissingRecords::SomeOf { from, to } => write!(f, "some of records {from} to {to}"),
            MissingRecords::After { sequence } => write!(f, "any records after {sequence}"),
        }
    }
}

/// Why a journal was not repaired. It is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// It cannot be read, or must not be repaired: it is another registry's, newer, or in use.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No file has the journal's id, so no record can be verified.
    #[error("no header in the journal is readable, so its id is unknown")]
    UnknownId,
    /// The operating system reported an error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Builds a valid journal from all valid records. Changes nothing unless there is damage. `time_ms` names the directory
/// for the old files. Unreadable sectors count as damage: the records around them are kept. Its memory use is the facts
/// in force and one file.
///
/// Durable steps, and what a crash after each leaves behind:
/// 1. unfinished files are removed, and each old file is linked (or copied) into `damaged-<time>/`: the damaged
///    journal, with second names for its files;
/// 2. the new snapshot is written as `.tmp`, synced, read back: the same;
/// 3. the new empty segment is created: the damaged journal; another repair takes a higher sequence;
/// 4. the snapshot gets its name: the new journal; the next open removes the files that it covers;
/// 5. the old names are removed: the new journal.
pub fn repair(
    directory: &Path,
    expected: Option<JournalId>,
    known_end: Option<(JournalId, u64)>,
    time_ms: u64,
) -> Result<Repaired, RepairError> {
    let _lock = open::lock(directory)?;
    let survey = survey::survey(directory, known_end)?;
    match survey.refusal(directory, expected) {
        Some(OpenError::Damaged { .. }) => {}
        Some(refusal) => return Err(refusal.into()),
        None => return Ok(nothing_to_do(survey)),
    }
    let id = expected.or(survey.id).ok_or(RepairError::UnknownId)?;
    let names = survey::list(directory).map_err(error(directory))?;
    let mut salvage = Salvage::default();
    salvage.read(directory, &id, &names).map_err(error(directory))?;
    let known_end = known_end.filter(|(_, end)| *end <= MAX_SEQUENCE);
    let sequence = salvage.last.max(known_end.map_or(0, |(_, end)| end)) + SKIP;

    // Before the new segment is created, since that uses one of these names.
    open::remove(&names.temporary).map_err(error(directory))?;
    let moved_to = directory.join(format!("damaged-{time_ms:013}"));
    set_aside(directory, &names, &moved_to).map_err(error(&moved_to))?;
    let kept = salvage.write(directory, &id, sequence).map_err(error(directory))?;
    remove_old(directory, &names).map_err(error(directory))?;
    let mut missing = salvage.missing();
    if let Some((_, end)) = known_end
        && end > salvage.last
    {
        missing.push(MissingRecords::Exactly { from: salvage.last + 1, to: end });
    }
    Ok(Repaired { moved_to: Some(moved_to), findings: survey.findings, missing, kept, sequence })
}

/// The records that a repair would miss. Changes nothing.
#[cfg(any(test, fuzzing))]
pub(super) fn missing(directory: &Path, id: &JournalId) -> io::Result<Vec<MissingRecords>> {
    let mut salvage = Salvage::default();
    salvage.read(directory, id, &survey::list(directory)?)?;
    Ok(salvage.missing())
}

fn error(path: &Path) -> impl FnOnce(io::Error) -> RepairError {
    let path = path.to_owned();
    move |source| RepairError::Io { path, source }
}

fn nothing_to_do(survey: Survey) -> Repaired {
    let sequence = survey.last();
    let kept = survey.snapshot.map_or(0, |snapshot| snapshot.count)
        + survey.segments.iter().map(|segment| segment.walk.records.len() as u64).sum::<u64>();
    Repaired { moved_to: None, findings: survey.findings, missing: Vec::new(), kept, sequence }
}

/// Gives every old file a second name. If the file system has no links, copies it, with zeros for unreadable bytes.
fn set_aside(directory: &Path, names: &Names, target: &Path) -> io::Result<()> {
    fs::create_dir(target)?;
    for path in old_files(directory, names) {
        let name = path.file_name().expect("each path ends with the name it was made from");
        let copy = target.join(name);
        if fs::hard_link(&path, &copy).is_err() {
            fs::write(&copy, reading::load(&path, u64::MAX)?.bytes)?;
            File::open(&copy)?.sync_all()?;
        }
    }
    disk::sync_directory(&SystemDisk, target)?;
    disk::sync_directory(&SystemDisk, directory)
}

fn remove_old(directory: &Path, names: &Names) -> io::Result<()> {
    open::remove(&old_files(directory, names))?;
    disk::sync_directory(&SystemDisk, directory)
}

fn old_files(directory: &Path, names: &Names) -> Vec<PathBuf> {
    let snapshots = names.snapshots.iter().map(|sequence| snapshot::path(directory, *sequence));
    snapshots.chain(names.segments.iter().map(|first| segment::path(directory, *first))).collect()
}

/// The last record about a thing.
#[derive(Debug)]
struct LatestRecord {
    sequence: u64,
    is_removal: bool,
    payload: Vec<u8>,
}

/// All valid records.
#[derive(Debug, Default)]
struct Salvage {
    latest: BTreeMap<Vec<u8>, LatestRecord>,
    /// Sequences found in segments.
    found: BTreeSet<u64>,
    /// Sequence of the newest valid snapshot.
    base: u64,
    /// Sequence of the newest damaged snapshot.
    partial: u64,
    /// The last record known to have existed.
    last: u64,
    /// True if more records may have existed.
    is_open_ended: bool,
}

impl Salvage {
    fn read(&mut self, directory: &Path, id: &JournalId, names: &Names) -> io::Result<()> {
        // Snapshots older than a valid one are skipped, since their entries may have been removed later.
        for &sequence in names.snapshots.iter().rev() {
            let path = snapshot::path(directory, sequence);
            self.last = self.last.max(sequence);
            if snapshot::verify(&path, sequence).is_ok_and(|whole| whole.id == *id) {
                self.base = sequence;
                self.read_snapshot(&path, sequence)?;
                break;
            }
            self.partial = self.partial.max(sequence);
            self.scan_snapshot(&path, id)?;
        }
        for (index, &first) in names.segments.iter().enumerate() {
            let next = names.segments.get(index + 1).copied();
            if next.is_some_and(|next| next <= self.base + 1) {
                continue;
            }
            self.last = self.last.max(first.saturating_sub(1));
            self.read_segment(&segment::path(directory, first), id, first, next.is_none())?;
        }
        self.is_open_ended |= names.segments.is_empty();
        Ok(())
    }

    fn read_snapshot(&mut self, path: &Path, sequence: u64) -> io::Result<()> {
        let fault = |fault: snapshot::SnapshotFault| io::Error::other(fault.why);
        let mut entries = SnapshotReader::open(File::open(path)?, sequence).map_err(fault)?;
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(fault)?;
            self.keep(entry.key, entry.record.sequence, false, entries.payload());
        }
        Ok(())
    }

    fn scan_snapshot(&mut self, path: &Path, id: &JournalId) -> io::Result<()> {
        let bytes = reading::load(path, u64::MAX)?.bytes;
        let from = HEADER_BYTES.min(bytes.len());
        for place in segment::scan(&bytes, from, id).strays {
            if place.role == Role::Entry {
                self.keep_frame(&bytes[place.offset..], id);
            }
        }
        Ok(())
    }

    fn read_segment(&mut self, path: &Path, id: &JournalId, first: u64, is_newest: bool) -> io::Result<()> {
        let Loaded { bytes, unreadable } = segment::load(path)?;
        let walk = segment::walk(&bytes, id, first);
        let mut places = walk.records.clone();
        let is_torn = is_newest && unreadable.is_empty() && walk.is_torn();
        if !is_torn {
            places.extend(walk.rest.strays.iter().filter(|place| matches!(place.role, Role::InBatch { .. })));
        }
        places.retain(|place| place.sequence > self.base);
        let last_place = places.last().map_or(0, |place| place.offset);
        for place in places {
            if self.keep_frame(&bytes[place.offset..], id) {
                self.found.insert(place.sequence);
                self.last = self.last.max(place.sequence);
            }
        }
        if is_newest {
            let ends_in_doubt = walk.rest.faults.iter().any(|(offset, _)| *offset > last_place)
                || unreadable.iter().any(|part| part.start > last_place);
            let has_header = SegmentHeader::decode(&bytes).is_ok_and(|header| header.length == bytes.len() as u64);
            self.is_open_ended |= !has_header || walk.sealed.is_some() || ends_in_doubt;
        }
        Ok(())
    }

    fn keep_frame(&mut self, bytes: &[u8], id: &JournalId) -> bool {
        let Ok((frame, record)) =
            record::decode(bytes, id).and_then(|frame| frame.record().map(|record| (frame, record)))
        else {
            return false;
        };
        let Frame { sequence, payload, .. } = frame;
        self.keep(record.fact.key(), sequence, record.fact.is_removal(), payload);
        true
    }

    fn keep(&mut self, key: Vec<u8>, sequence: u64, is_removal: bool, payload: &[u8]) {
        if self.latest.get(&key).is_none_or(|known| known.sequence < sequence) {
            self.latest.insert(key, LatestRecord { sequence, is_removal, payload: payload.to_vec() });
        }
    }

    fn missing(&self) -> Vec<MissingRecords> {
        let mut missing = Vec::new();
        let mut from = self.base + 1;
        for &found in self.found.iter().chain([&(self.last + 1)]) {
            self.report_gap(&mut missing, from, found - 1);
            from = found + 1;
        }
        if self.is_open_ended {
            missing.push(MissingRecords::After { sequence: self.last });
        }
        missing
    }

    /// Reports a gap. Up to a damaged snapshot's sequence, some of its records may have been kept.
    fn report_gap(&self, missing: &mut Vec<MissingRecords>, from: u64, to: u64) {
        let covered = to.min(self.partial);
        if from <= covered {
            missing.push(MissingRecords::SomeOf { from, to: covered });
        }
        let from = from.max(covered + 1);
        if from <= to {
            missing.push(MissingRecords::Exactly { from, to });
        }
    }

    fn write(&self, directory: &Path, id: &JournalId, sequence: u64) -> io::Result<u64> {
        let target = snapshot::path(directory, sequence);
        let temporary = target.with_extension("tmp");
        let header = SnapshotHeader { id: *id, sequence, ledger_next: None };
        let mut writer = SnapshotWriter::new(File::create(&temporary)?, &header)?;
        for record in self.latest.values().filter(|record| !record.is_removal) {
            writer.push(record.sequence, &record.payload)?;
        }
        make_durable(&SystemDisk, &writer.finish()?)?;
        let whole = snapshot::verify(&temporary, sequence).map_err(|fault| io::Error::other(fault.why))?;
        let unused = segment::allocate(&SystemDisk, directory, super::SEGMENT_BYTES)?;
        segment::enter(&SystemDisk, directory, id, sequence + 1, &unused)?;
        fs::rename(&temporary, &target)?;
        disk::sync_directory(&SystemDisk, directory)?;
        Ok(whole.count)
    }
}
