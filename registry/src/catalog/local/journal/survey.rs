//! What is in a journal's directory, read in full and judged without changing anything.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::OpenError;
use super::reading::{self, Loaded};
use super::record::{FrameError, JournalId};
use super::segment::{self, HeaderError, SegmentHeader, Walk};
use super::snapshot::{self, SnapshotFaultKind};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, or the directory if a file is missing.
    pub file: PathBuf,
    /// From which byte on.
    pub offset: u64,
    /// How bad it is.
    pub kind: FindingKind,
    /// What is wrong.
    pub what: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// Durable records are damaged or gone: the journal does not open.
    Damage,
    /// What a crash left of a batch that was never acknowledged: the next open cuts it.
    TornTail,
    /// A snapshot is bad, and what it was made of still stands: nothing is lost, the next compaction replaces it.
    BadSnapshot,
    /// A file of another journal.
    Foreign {
        /// Whose it is.
        found: JournalId,
    },
    /// An intact record that this version cannot read. Neither opening nor repairing may drop it.
    UnknownRecord,
    /// A file of a later version.
    NewerFormat {
        /// Which.
        version: u32,
    },
}

/// A snapshot that is whole.
#[derive(Clone, Debug)]
pub(super) struct GoodSnapshot {
    pub(super) sequence: u64,
    pub(super) bytes: u64,
    /// How many entries.
    pub(super) count: u64,
}

/// A segment that is needed.
#[derive(Debug)]
pub(super) struct GoodSegment {
    pub(super) first: u64,
    pub(super) path: PathBuf,
    pub(super) length: u64,
    pub(super) walk: Walk,
}

/// Everything that is known after reading it all.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// As the files say.
    pub(super) id: Option<JournalId>,
    /// The newest that is whole.
    pub(super) snapshot: Option<GoodSnapshot>,
    /// What follows it, oldest first. Complete only if there is no damage.
    pub(super) segments: Vec<GoodSegment>,
    /// Segments and older snapshots that the snapshot covers: what a compaction had not removed yet.
    pub(super) covered: Vec<PathBuf>,
    /// Unfinished files.
    pub(super) temporary: Vec<PathBuf>,
    /// The step that a crash interrupted: the last but one segment has no seal yet.
    pub(super) lacks_seal: bool,
    /// In the order of reading.
    pub(super) findings: Vec<Finding>,
}

/// The names in a journal's directory.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// First sequences, ascending.
    pub(super) segments: Vec<u64>,
    /// Sequences, ascending.
    pub(super) snapshots: Vec<u64>,
    pub(super) temporary: Vec<PathBuf>,
}

/// Lists a directory; one that is absent is empty.
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

/// The names of all files of a journal, unfinished ones left out: snapshots, then segments, each in ascending order.
pub fn files(directory: &Path) -> io::Result<Vec<String>> {
    let names = list(directory)?;
    let snapshots = names.snapshots.iter().map(|sequence| snapshot::path(directory, *sequence));
    let paths = snapshots.chain(names.segments.iter().map(|first| segment::path(directory, *first)));
    Ok(paths.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
}

/// True of a name that [`files`] could list.
pub fn is_file(name: &str) -> bool {
    segment::first_in_name(name).is_some() || snapshot::sequence_in_name(name).is_some()
}

/// Reads everything that counts. `known_end`: see [`Options`](super::Options).
pub(super) fn survey(directory: &Path, known_end: Option<(JournalId, u64)>) -> Result<Survey, OpenError> {
    let names = list(directory).map_err(OpenError::io(directory))?;
    let mut survey = Survey { temporary: names.temporary, ..Survey::default() };
    survey.read_snapshots(directory, &names.snapshots)?;
    survey.read_segments(directory, &names.segments)?;
    survey.judge_order(directory);
    survey.judge_end(directory, known_end);
    Ok(survey)
}

/// True if a read failed for what is, or is not, on the disk.
fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof || reading::is_unreadable(error)
}

impl Survey {
    /// True if no journal was ever here.
    pub(super) fn is_empty(&self) -> bool {
        self.id.is_none() && self.findings.is_empty()
    }

    /// The sequence that everything up to is in the snapshot.
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

    /// The newest whole snapshot counts; newer ones that are bad are findings, older ones are leftovers.
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
                    self.find(&path, 0, FindingKind::Damage, "the header is not that of a segment");
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
            self.find(&path, 32, FindingKind::Damage, "the name does not match the header");
            return;
        }
        if header.length != bytes.len() as u64 {
            let what = format!("the file has {} bytes, its header says {}", bytes.len(), header.length);
            self.find(&path, 40, FindingKind::Damage, what);
            return;
        }
        let walk = segment::walk(bytes, &id, first);
        self.segments.push(GoodSegment { first, path, length: header.length, walk });
    }

    /// Each segment must go on where the one before ends, from the snapshot on, and only the newest may be torn.
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

    /// Rot at the very end looks like a batch that a crash has torn, which was never acknowledged; unless it is known
    /// that the journal had been longer.
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
            let what = format!("ends at record {}, the next segment begins with {}", walk.last, next.first);
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
            let what = format!("record {} stands where {} should", stray.sequence, segment.walk.last + 1);
            self.find(&segment.path, stray.offset as u64, FindingKind::Damage, what);
        }
    }

    fn has_damage(&self) -> bool {
        self.findings.iter().any(|finding| finding.kind == FindingKind::Damage)
    }

    /// Why the journal must not be opened, if so.
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
        // With damage, a bad snapshot that was read first is its cause.
        let damage = |finding: &&Finding| matches!(finding.kind, FindingKind::Damage | FindingKind::BadSnapshot);
        let first = self.findings.iter().find(damage).filter(|_| self.has_damage())?;
        let Finding { file, offset, what, .. } = first.clone();
        Some(OpenError::Damaged { file, offset, why: what })
    }
}
