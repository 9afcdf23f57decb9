//! Reads records in limited memory, while others are appended.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::catalog::fact::Record;

use super::error::{FactsSinceError, ReplayError};
use super::record::{FrameError, FrameReader, JournalId, ReadFrameError, Role};
use super::segment::{self, HEADER_BYTES};
use super::snapshot::{self, SnapshotFault, SnapshotReader};

/// The current files of the journal, shared by the journal and its readers.
#[derive(Debug)]
pub(super) struct Layout {
    directory: PathBuf,
    id: JournalId,
    files: Mutex<Files>,
}

#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) snapshot: Option<u64>,
    /// First sequences, ascending. Never empty.
    pub(super) segments: VecDeque<u64>,
    pub(super) last: u64,
}

impl Layout {
    pub(super) fn new(directory: PathBuf, id: JournalId, files: Files) -> Self {
        Self { directory, id, files: Mutex::new(files) }
    }

    /// A poisoned lock stays usable, since each change under it is a single assignment or push.
    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_last(&self, last: u64) {
        self.lock().last = last;
    }

    pub(super) fn add_segment(&self, first: u64) {
        self.lock().segments.push_back(first);
    }

    pub(super) fn files(&self) -> Files {
        self.lock().clone()
    }

    pub(super) fn set_files(&self, files: Files) {
        *self.lock() = files;
    }

    /// Makes readers begin with this snapshot. Returns the segments that it covers, oldest first. Readers that have
    /// them open can go on.
    pub(super) fn set_snapshot(&self, sequence: u64) -> Vec<u64> {
        let mut files = self.lock();
        files.snapshot = Some(sequence);
        let mut covered = Vec::new();
        while files.segments.get(1).is_some_and(|next| *next <= sequence + 1) {
            covered.extend(files.segments.pop_front());
        }
        covered
    }
}

/// Reads a journal that may be appended to at the same time.
#[derive(Clone, Debug)]
pub struct JournalReader {
    layout: Arc<Layout>,
}

impl JournalReader {
    pub(super) fn new(layout: Arc<Layout>) -> Self {
        Self { layout }
    }

    /// The sequence of the last durable record; 0 if there is none.
    pub fn last_sequence(&self) -> u64 {
        self.layout.lock().last
    }

    /// The whole current state: the snapshot's records in the order of [`crate::catalog::fact::Fact::key`], then all
    /// later records in order, including removals.
    pub fn replay_state(&self) -> Result<Replay, ReplayError> {
        // The lock keeps the files from being removed until they are open.
        let files = self.layout.lock();
        let snapshot = files.snapshot.map(|sequence| self.open_snapshot(sequence)).transpose()?;
        let mut replay = self.open_segments(&files, files.snapshot.unwrap_or(0))?;
        replay.snapshot = snapshot;
        Ok(replay)
    }

    /// All current records after `sequence`, in order.
    pub fn facts_since(&self, sequence: u64) -> Result<Replay, FactsSinceError> {
        let files = self.layout.lock();
        match files.snapshot {
            Some(snapshot_sequence) if sequence < snapshot_sequence => {
                Err(FactsSinceError::Compacted { snapshot_sequence })
            }
            _ => Ok(self.open_segments(&files, sequence)?),
        }
    }

    fn open_snapshot(&self, sequence: u64) -> Result<(PathBuf, SnapshotReader), ReplayError> {
        let path = snapshot::path(&self.layout.directory, sequence);
        let file = open(&path)?;
        let reader = SnapshotReader::open(file, sequence).map_err(|fault| snapshot_error(&path, &fault))?;
        Ok((path, reader))
    }

    fn open_segments(&self, files: &Files, after: u64) -> Result<Replay, ReplayError> {
        let mut segments = VecDeque::new();
        for (index, &first) in files.segments.iter().enumerate() {
            let is_before = files.segments.get(index + 1).is_some_and(|next| *next <= after + 1);
            if !is_before && first <= files.last && after < files.last {
                segments.push_back(SegmentRecords::open(&self.layout.directory, self.layout.id, first)?);
            }
        }
        Ok(Replay { snapshot: None, segments, after, last: files.last })
    }
}

fn open(path: &Path) -> Result<File, ReplayError> {
    File::open(path).map_err(|error| ReplayError { file: path.to_owned(), offset: 0, why: error.to_string() })
}

pub(super) fn snapshot_error(path: &Path, fault: &SnapshotFault) -> ReplayError {
    ReplayError { file: path.to_owned(), offset: fault.offset, why: fault.why.to_string() }
}

/// Reads the records of one segment.
#[derive(Debug)]
pub(super) struct SegmentRecords {
    path: PathBuf,
    id: JournalId,
    frames: FrameReader<BufReader<File>>,
    offset: u64,
    expected: u64,
}

impl SegmentRecords {
    pub(super) fn open(directory: &Path, id: JournalId, first: u64) -> Result<Self, ReplayError> {
        let path = segment::path(directory, first);
        let offset = HEADER_BYTES as u64;
        let frames = segment::frames_at(open(&path)?, offset).map_err(|error| ReplayError {
            file: path.clone(),
            offset,
            why: error.to_string(),
        })?;
        Ok(Self { path, id, frames, offset, expected: first })
    }

    /// The next record after the sequence `after`, with its offset; `None` at the seal.
    pub(super) fn next(&mut self, after: u64) -> Result<Option<(u64, Record)>, ReplayError> {
        loop {
            let offset = self.offset;
            match self.step(after) {
                Ok(Step::Record(record)) => return Ok(Some((offset, record))),
                Ok(Step::Passed) => {}
                Ok(Step::Sealed) => return Ok(None),
                Err(error) => return Err(ReplayError { file: self.path.clone(), offset, why: error.to_string() }),
            }
        }
    }

    fn step(&mut self, after: u64) -> Result<Step, ReadFrameError> {
        let frame = self.frames.next(&self.id)?;
        let is_in_place = frame.sequence == self.expected;
        match frame.role {
            Role::Seal if is_in_place => return Ok(Step::Sealed),
            Role::InBatch { .. } if is_in_place => {}
            _ => return Err(FrameError::Misplaced.into()),
        }
        let step = if frame.sequence > after { Step::Record(frame.record()?) } else { Step::Passed };
        self.offset += frame.size() as u64;
        self.expected += 1;
        Ok(step)
    }
}

#[expect(clippy::large_enum_variant, reason = "only one exists at a time")]
enum Step {
    Record(Record),
    /// Verified, but not requested.
    Passed,
    Sealed,
}

/// Records in order. The iterator ends after an error.
#[derive(Debug)]
pub struct Replay {
    snapshot: Option<(PathBuf, SnapshotReader)>,
    segments: VecDeque<SegmentRecords>,
    /// Records of segments up to this one are skipped.
    after: u64,
    last: u64,
}

impl Replay {
    /// The last record that it will return: the last durable one when the replay began.
    pub fn last_sequence(&self) -> u64 {
        self.last
    }

    fn next_of_snapshot(&mut self) -> Option<Result<Record, ReplayError>> {
        let (path, reader) = self.snapshot.as_mut()?;
        let item = reader.next().map(|entry| match entry {
            Ok(entry) => Ok(entry.record),
            Err(fault) => Err(snapshot_error(path, &fault)),
        });
        if item.is_none() {
            self.snapshot = None;
        }
        item
    }

    fn next_of_segments(&mut self) -> Option<Result<Record, ReplayError>> {
        while self.after < self.last {
            match self.segments.front_mut()?.next(self.after) {
                Ok(Some((_, record))) => {
                    self.after = record.sequence;
                    return Some(Ok(record));
                }
                Ok(None) => drop(self.segments.pop_front()),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

impl Iterator for Replay {
    type Item = Result<Record, ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.next_of_snapshot().or_else(|| self.next_of_segments());
        if matches!(item, None | Some(Err(_))) {
            self.snapshot = None;
            self.segments.clear();
        }
        item
    }
}
