//! Reads a whole journal directory and judges it, without changing anything.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::OpenError;
use super::reading::{self, Loaded};
use super::record::{FrameError, JournalId};
use super::segment::{self, HeaderError, SegmentHeader, Walk};
use super::snapshot::{self, SnapshotFaultKind};

/// A fault in a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, or the directory if a file is missing.
    pub file: PathBuf,
    /// Start of the fault.
    pub offset: u64,
    /// The kind of the fault.
    pub kind: FindingKind,
    /// The fault.
    pub what: String,
}

/// The kind of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// Durable records are damaged or gone, so the journal does not open.
    Damage,
    /// The remains of a batch that was never acknowledged, left by a crash. The next open cuts them.
    TornTail,
    /// A bad snapshot whose sources still exist. Nothing is lost, and the next compaction replaces it.
    BadSnapshot,
    /// A file of another journal.
    Foreign {
        /// The other journal's id.
        found: JournalId,
    },
    /// An intact record that this version cannot read. Neither opening nor repairing may drop it.
    UnknownRecord,
    /// A file of a newer version.
    NewerFormat {
        /// The version.
        version: u32,
    },
}

/// A valid snapshot.
#[derive(Clone, Debug)]
pub(super) struct GoodSnapshot {
    pub(super) sequence: u64,
    pub(super) bytes: u64,
    /// Number of entries.
    pub(super) count: u64,
}

/// A segment in use.
#[derive(Debug)]
pub(super) struct GoodSegment {
    pub(super) first: u64,
    pub(super) path: PathBuf,
    pub(super) length: u64,
    pub(super) walk: Walk,
}

/// Everything known about a journal after reading it.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The id in the files.
    pub(super) id: Option<JournalId>,
    /// The newest valid snapshot.
    pub(super) snapshot: Option<GoodSnapshot>,
    /// The segments after it, oldest first. Complete only if there is no damage.
    pub(super) segments: Vec<GoodSegment>,
    /// Segments and older snapshots covered by the snapshot, which a compaction has not removed yet.
    pub(super) covered: Vec<PathBuf>,
    /// Unfinished files.
    pub(super) temporary: Vec<PathBuf>,
    /// True if the last but one segment has no seal yet, because a crash interrupted that step.
    pub(super) lacks_seal: bool,
    /// Findings in the order of reading.
    pub(super) findings: Vec<Finding>,
}

/// The files in a journal's directory.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// First sequences, ascending.
    pub(super) segments: Vec<u64>,
    /// Sequences, ascending.
    pub(super) snapshots: Vec<u64>,
    pub(super) temporary: Vec<PathBuf>,
}

/// Lists a directory. A missing one counts as empty.
pub(super) fn list(directory: &Path) -> io::Result<Names> {
    let mut names = Names::default();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(first) = segment::first_in_name(name) {
            names.segments.push(first);
        } else if let Some(sequence) = snapshot::sequence_in_name(name) {
            names.snapshots.push(sequence);
        } else if Path::new(name).extension().is_some_and(|extension| extension == "tmp") {
            names.temporary.push(entry.path());
        }
    }
    names.segments.sort_unstable();
    names.snapshots.sort_unstable();
    Ok(names)
}

/// The names of all finished files of a journal: snapshots, then segments, each in ascending order.
pub fn files(directory: &Path) -> io::Result<Vec<String>> {
    let names = list(directory)?;
    let snapshots = names.snapshots.iter().map(|sequence| snapshot::path(directory, *sequence));
    let paths = snapshots.chain(names.segments.iter().map(|first| segment::path(directory, *first)));
    Ok(paths.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
}

/// True for a name that [`files`] could return.
pub fn is_file(name: &str) -> bool {
    segment::first_in_name(name).is_some() || snapshot::sequence_in_name(name).is_some()
}

/// Reads all files in use. `known_end`: see [`Options`](super::Options).
pub(super) fn survey(directory: &Path, known_end: Option<(JournalId, u64)>) -> Result<Survey, OpenError> {
    let names = list(directory).map_err(OpenError::io(directory))?;
    let mut survey = Survey { temporary: names.temporary, ..Survey::default() };
    survey.read_snapshots(directory, &names.snapshots)?;
    survey.read_segments(directory, &names.segments)?;
    survey.judge_order(directory);
    survey.judge_end(directory, known_end);
    Ok(survey)
}

/// True if a read failed because of the data on the disk, not because of the system.
fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof || reading::is_unreadable(error)
}

impl Survey {
    /// True if there was never a journal here.
    pub(super) fn is_empty(&self) -> bool {
        self.id.is_none() && self.findings.is_empty()
    }

    /// The last record in the snapshot; 0 without one.
    pub(super) fn base(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.sequence)
    }

    /// The sequence of the last record.
    pub(super) fn last(&self) -> u64 {
        self.segments.last().map_or(self.base(), |segment| segment.walk.last)
    }

    fn find(&mut self, file: &Path, offset: u64, kind: FindingKind, what: impl Into<String>) {
        self.findings.push(Finding { file: file.to_owned(), offset, kind, what: what.into() });
    }

    /// Uses the newest valid snapshot. Newer ones are findings, older ones are leftovers.
    fn read_snapshots(&mut self, directory: &Path, sequences: &[u64]) -> Result<(), OpenError> {
        for &sequence in sequences.iter().rev() {
            let path = snapshot::path(directory, sequence);
            if self.snapshot.is_some() {
                self.covered.push(path);
                continue;
            }
            match snapshot::verify(&path, sequence) {
                Ok(whole) => {
                    self.id = Some(whole.id);
                    self.snapshot = Some(GoodSnapshot { sequence, bytes: whole.bytes, count: whole.count });
                }
                Err(fault) => match fault.why {
                    SnapshotFaultKind::Io(error) if !is_damage(&error) => {
                        return Err(OpenError::Io { path, source: error });
                    }
                    SnapshotFaultKind::Newer(version) => {
                        let kind = FindingKind::NewerFormat { version };
                        self.find(&path, 0, kind, "written by a newer version");
                    }
                    why @ SnapshotFaultKind::Frame(FrameError::Payload) => {
                        self.find(&path, fault.offset, FindingKind::UnknownRecord, why.to_string());
                    }
                    why => self.find(&path, fault.offset, FindingKind::BadSnapshot, why.to_string()),
                },
            }
        }
        Ok(())
    }

    fn read_segments(&mut self, directory: &Path, firsts: &[u64]) -> Result<(), OpenError> {
        let base = self.base();
        for (index, &first) in firsts.iter().enumerate() {
            let path = segment::path(directory, first);
            if firsts.get(index + 1).is_some_and(|next| *next <= base + 1) {
                self.covered.push(path);
                continue;
            }
            let Loaded { bytes, unreadable } = segment::load(&path).map_err(OpenError::io(&path))?;
            for part in unreadable {
                let what = format!("{} bytes cannot be read from the disk", part.len());
                self.find(&path, part.start as u64, FindingKind::Damage, what);
            }
            match SegmentHeader::decode(&bytes) {
                Ok(header) => self.read_segment(path, &bytes, first, header),
                Err(HeaderError::Newer(version)) => {
                    self.find(&path, 8, FindingKind::NewerFormat { version }, "written by a newer version");
                }
                Err(HeaderError::Bad) => {
                    self.find(&path, 0, FindingKind::Damage, "the header is not a segment's");
                }
            }
        }
        Ok(())
    }

    fn read_segment(&mut self, path: PathBuf, bytes: &[u8], first: u64, header: SegmentHeader) {
        let id = *self.id.get_or_insert(header.id);
        if header.id != id {
            self.find(&path, 16, FindingKind::Foreign { found: header.id }, "a segment of another journal");
            return;
        }
        if header.first != first {
            self.find(&path, 32, FindingKind::Damage, "the file name does not match the header");
            return;
        }
        if header.length != bytes.len() as u64 {
            let what = format!("the file has {} bytes, but its header states {}", bytes.len(), header.length);
            self.find(&path, 40, FindingKind::Damage, what);
            return;
        }
        let walk = segment::walk(bytes, &id, first);
        self.segments.push(GoodSegment { first, path, length: header.length, walk });
    }

    /// Checks that each segment continues where its predecessor ends, from the snapshot on, and that only the newest is
    /// torn.
    fn judge_order(&mut self, directory: &Path) {
        let segments = std::mem::take(&mut self.segments);
        let base = self.base();
        match segments.first() {
            Some(oldest) if oldest.first > base + 1 => {
                let what = format!("records {} to {} are missing", base + 1, oldest.first - 1);
                self.find(directory, 0, FindingKind::Damage, what);
            }
            None if !self.has_damage() && (self.snapshot.is_some() || !self.findings.is_empty()) => {
                self.find(directory, 0, FindingKind::Damage, format!("no segment follows record {base}"));
            }
            _ => {}
        }
        for (index, segment) in segments.iter().enumerate() {
            let successors = &segments[index + 1..];
            match successors {
                [] => self.judge_newest(segment),
                [next, ..] => self.judge_sealed(segment, next, successors.len() == 1),
            }
        }
        if let Some(newest) = segments.last()
            && newest.walk.last < base
        {
            let what = format!("the records end at {}, before the snapshot at {base}", newest.walk.last);
            self.find(&newest.path, newest.walk.last_batch.end as u64, FindingKind::Damage, what);
        }
        self.segments = segments;
    }

    /// Checks the end against the last record known to have been synced. Without that, rot at the very end looks like a
    /// batch torn by a crash, which was never acknowledged.
    fn judge_end(&mut self, directory: &Path, known_end: Option<(JournalId, u64)>) {
        let Some((id, sequence)) = known_end else { return };
        let last = self.last();
        if self.id != Some(id) || last >= sequence || self.has_damage() {
            return;
        }
        let newest = self.segments.last().map(|segment| (segment.path.clone(), segment.walk.last_batch.end as u64));
        let (path, end) = newest.unwrap_or_else(|| (directory.to_owned(), 0));
        let what = format!("the records end at {last}, but those up to {sequence} had been synced");
        self.find(&path, end, FindingKind::Damage, what);
    }

    fn judge_newest(&mut self, segment: &GoodSegment) {
        let walk = &segment.walk;
        if let Some(next) = walk.sealed {
            let what = format!("sealed, but the segment that begins with record {next} is missing");
            self.find(&segment.path, walk.last_batch.end as u64, FindingKind::Damage, what);
        } else if walk.is_clean() {
            return;
        } else if walk.is_torn() {
            let what = format!("an unfinished batch follows record {}", walk.last);
            self.find(&segment.path, walk.last_batch.end as u64, FindingKind::TornTail, what);
            return;
        }
        self.find_faults(segment);
    }

    fn judge_sealed(&mut self, segment: &GoodSegment, next: &GoodSegment, next_is_newest: bool) {
        let walk = &segment.walk;
        let ends_well = walk.last + 1 == next.first;
        if ends_well && walk.sealed == Some(next.first) && walk.is_clean() {
            return;
        }
        let next_is_unused = next_is_newest && next.walk.records.is_empty() && next.walk.is_clean();
        if ends_well && walk.is_torn() && walk.rest.strays.is_empty() && next_is_unused {
            self.lacks_seal = true;
            return;
        }
        self.find_faults(segment);
        if !ends_well {
            let end = walk.last_batch.end as u64;
            let what = format!("ends at record {}, but the next segment begins with {}", walk.last, next.first);
            self.find(&segment.path, end, FindingKind::Damage, what);
        } else if walk.sealed.is_none() && walk.rest.faults.is_empty() {
            self.find(&segment.path, walk.last_batch.end as u64, FindingKind::Damage, "the seal is missing");
        }
    }

    fn find_faults(&mut self, segment: &GoodSegment) {
        let rest = &segment.walk.rest;
        if let Some(offset) = segment.walk.unreadable {
            self.find(&segment.path, offset as u64, FindingKind::UnknownRecord, FrameError::Payload.to_string());
        }
        for (offset, error) in &rest.faults {
            self.find(&segment.path, *offset as u64, FindingKind::Damage, error.to_string());
        }
        if rest.faults.is_empty()
            && segment.walk.unreadable.is_none()
            && let Some(stray) = rest.strays.first()
        {
            let what = format!("record {} is at the position of record {}", stray.sequence, segment.walk.last + 1);
            self.find(&segment.path, stray.offset as u64, FindingKind::Damage, what);
        }
    }

    fn has_damage(&self) -> bool {
        self.findings.iter().any(|finding| finding.kind == FindingKind::Damage)
    }

    /// The reason to refuse to open the journal, if there is one.
    pub(super) fn refusal(&self, directory: &Path, expected: Option<JournalId>) -> Option<OpenError> {
        for finding in &self.findings {
            match finding.kind {
                FindingKind::NewerFormat { version } => {
                    return Some(OpenError::NewerFormat { file: finding.file.clone(), version });
                }
                FindingKind::UnknownRecord => {
                    return Some(OpenError::UnknownRecord { file: finding.file.clone(), offset: finding.offset });
                }
                FindingKind::Foreign { found } => {
                    let expected = expected.or(self.id).unwrap_or(found);
                    return Some(OpenError::Foreign { file: finding.file.clone(), expected, found });
                }
                _ => {}
            }
        }
        if let (Some(expected), Some(found)) = (expected, self.id)
            && expected != found
        {
            return Some(OpenError::Foreign { file: directory.to_owned(), expected, found });
        }
        if let Some(expected) = expected
            && self.is_empty()
        {
            return Some(OpenError::Missing { directory: directory.to_owned(), expected });
        }
        // If there is damage, a bad snapshot read first is its cause.
        let damage = |finding: &&Finding| matches!(finding.kind, FindingKind::Damage | FindingKind::BadSnapshot);
        let first = self.findings.iter().find(damage).filter(|_| self.has_damage())?;
        let Finding { file, offset, what, .. } = first.clone();
        Some(OpenError::Damaged { file, offset, why: what })
    }
}
