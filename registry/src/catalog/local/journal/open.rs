//! Opens a journal: reads everything, completes what a crash interrupted, and refuses anything else.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use content_store::Room;

use super::disk::{self, Disk};
use super::error::OpenError;
use super::record::{self, JournalId, Role};
use super::replay::{Files, JournalReader, Layout};
use super::segment::{self, HEADER_BYTES, Unused};
use super::survey::{self, Finding, FindingKind, GoodSegment, Survey};
use super::{Current, Journal, Options};

/// What opening a journal found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The journal's id.
    pub id: JournalId,
    /// The last record in the snapshot; 0 without one.
    pub snapshot_sequence: u64,
    /// The last record; 0 if there are none.
    pub last_sequence: u64,
    /// The torn batch that was removed, if any.
    pub cut: Option<Cut>,
    /// Bad snapshots, newer than the one used. An older one and the segments since then replaced them.
    pub bad_snapshots: Vec<Finding>,
    /// True if the journal is new.
    pub created: bool,
}

/// The torn batch that was removed. It was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub file: PathBuf,
    /// Start of the batch.
    pub offset: u64,
    /// Number of bytes set to zero from there.
    pub bytes: u64,
}

impl Journal {
    /// Opens the journal in a directory. Creates one if the directory is empty or missing, and no journal is expected.
    ///
    /// Durable steps, and what a crash after each leaves behind: each only completes what an earlier crash interrupted,
    /// and finds the same at the next open.
    /// 1. the directory is synced, since a new segment's or snapshot's name may have been read only from the cache.
    ///    Then temporary files and files covered by a compaction are removed;
    /// 2. a torn batch is set to zero and synced;
    /// 3. a missing seal is written and synced;
    /// 4. the last batch is written again, unchanged, and synced: it may have been read only from the page cache, and
    ///    after a failed sync the cache does not know that it never reached the disk;
    /// 5. for a new journal: its first segment, then the directory's name.
    pub fn open(directory: &Path, expected: Option<JournalId>, options: Options) -> Result<(Self, Opened), OpenError> {
        if expected.is_none() {
            fs::create_dir_all(directory).map_err(OpenError::io(directory))?;
        }
        let lock = match lock(directory) {
            Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(missing(directory, expected));
            }
            lock => lock?,
        };
        let survey = survey::survey(directory, options.known_end)?;
        if let Some(error) = survey.refusal(directory, expected) {
            return Err(error);
        }
        if survey.is_empty() {
            return create(directory, lock, options, &survey);
        }
        let cut = complete_interrupted(directory, &options, &survey).map_err(OpenError::io(directory))?;
        Self::from_survey(directory, lock, options, &survey, cut)
    }

    fn from_survey(
        directory: &Path,
        lock: File,
        options: Options,
        survey: &Survey,
        cut: Option<Cut>,
    ) -> Result<(Self, Opened), OpenError> {
        let (Some(id), Some(newest)) = (survey.id, survey.segments.last()) else {
            unreachable!("a survey without a refusal has a segment");
        };
        let current = Current::of(newest)?;
        let opened = Opened {
            id,
            snapshot_sequence: survey.base(),
            last_sequence: survey.last(),
            cut,
            bad_snapshots: bad_snapshots(&survey.findings),
            created: false,
        };
        let layout = Layout::new(directory.to_owned(), id, files(survey));
        let mut journal = Self::without_records(directory, lock, options, id, layout, current);
        journal.count(survey);
        Ok((journal, opened))
    }

    fn count(&mut self, survey: &Survey) {
        self.last = survey.last();
        self.tail_bytes = survey.segments.iter().map(used_bytes).sum();
        self.snapshot_bytes = survey.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes);
    }

    /// Opens the journal again after a failed write, by the steps of [`Journal::open`]. It may then have records of the
    /// batch that failed. Its readers stay. No compaction may be running.
    pub fn reopen(&mut self) -> Result<(), OpenError> {
        let (directory, known_end) = (self.directory.clone(), Some((self.id, self.last)));
        // A disk that still fails is not read for nothing.
        probe(&*self.options.disk, &directory).map_err(OpenError::io(&directory))?;
        let survey = survey::survey(&directory, known_end)?;
        if let Some(error) = survey.refusal(&directory, Some(self.id)) {
            return Err(error);
        }
        complete_interrupted(&directory, &self.options, &survey).map_err(OpenError::io(&directory))?;
        let Some(newest) = survey.segments.last() else { return Err(missing(&directory, Some(self.id))) };
        self.current = Current::of(newest)?;
        self.count(&survey);
        self.layout.set_files(files(&survey));
        // Its file was removed with the other unfinished ones.
        (self.spare, self.spare_tried, self.failed) = (None, false, false);
        Ok(())
    }

    fn without_records(
        directory: &Path,
        lock: File,
        options: Options,
        id: JournalId,
        layout: Layout,
        current: Current,
    ) -> Self {
        Self {
            directory: directory.to_owned(),
            room: Room::new(directory, options.keep_free),
            options,
            id,
            layout: Arc::new(layout),
            current,
            spare: None,
            spare_tried: false,
            last: 0,
            tail_bytes: 0,
            snapshot_bytes: 0,
            failed: false,
            compacting: Weak::new(),
            _lock: lock,
        }
    }
}

/// Opens the durable, whole part of a journal only for reading; a torn batch at its end is omitted. The directory may
/// be read-only, and a node may append meanwhile. The id of a journal without records is all zeros.
pub fn open_to_read(
    directory: &Path,
    expected: Option<JournalId>,
    known_end: Option<(JournalId, u64)>,
) -> Result<(JournalReader, Opened), OpenError> {
    let survey = survey::survey(directory, known_end)?;
    if let Some(error) = survey.refusal(directory, expected) {
        return Err(error);
    }
    let opened = Opened {
        id: survey.id.unwrap_or(JournalId::from_bytes([0; 16])),
        snapshot_sequence: survey.base(),
        last_sequence: survey.last(),
        cut: None,
        bad_snapshots: bad_snapshots(&survey.findings),
        created: false,
    };
    let layout = Layout::new(directory.to_owned(), opened.id, files(&survey));
    Ok((JournalReader::new(Arc::new(layout)), opened))
}

impl Current {
    fn of(newest: &GoodSegment) -> Result<Self, OpenError> {
        let file = open_for_writing(&newest.path).map_err(OpenError::io(&newest.path))?;
        Ok(Current { file, end: newest.walk.last_batch.end as u64, length: newest.length })
    }
}

/// The files for readers.
fn files(survey: &Survey) -> Files {
    Files {
        snapshot: survey.snapshot.as_ref().map(|snapshot| snapshot.sequence),
        segments: survey.segments.iter().map(|segment| segment.first).collect(),
        last: survey.last(),
    }
}

/// Writes and syncs a file, and removes it. A crash leaves a temporary file, which is removed at open.
fn probe(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    let path = directory.join("probe.tmp");
    let file = File::create(&path)?;
    disk.write(&file, &[0x5a; 4096], 0)?;
    disk.sync(&file)?;
    fs::remove_file(&path)?;
    disk::sync_directory(disk, directory)
}

fn used_bytes(segment: &GoodSegment) -> u64 {
    (segment.walk.last_batch.end - HEADER_BYTES) as u64
}

fn bad_snapshots(findings: &[Finding]) -> Vec<Finding> {
    findings.iter().filter(|finding| finding.kind == FindingKind::BadSnapshot).cloned().collect()
}

fn missing(directory: &Path, expected: Option<JournalId>) -> OpenError {
    match expected {
        Some(expected) => OpenError::Missing { directory: directory.to_owned(), expected },
        None => OpenError::io(directory)(io::ErrorKind::NotFound.into()),
    }
}

/// How long to wait for the lock. Its owner may be about to release it: an ending process, or a forked child of the
/// last owner that has not called exec yet.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Locks a journal's directory. Two processes that append would destroy each other's records.
pub(super) fn lock(directory: &Path) -> Result<File, OpenError> {
    let lock = File::open(directory).map_err(OpenError::io(directory))?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_PATIENCE / 50),
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { directory: directory.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(OpenError::io(directory)(error)),
        }
    }
}

fn open_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn create(directory: &Path, lock: File, options: Options, survey: &Survey) -> Result<(Journal, Opened), OpenError> {
    let id = (options.new_id)().map_err(OpenError::io(directory))?;
    let disk = Arc::clone(&options.disk);
    let make = || -> io::Result<_> {
        remove(&survey.temporary)?;
        let unused = segment::allocate(&*disk, directory, options.segment_bytes)?;
        segment::enter(&*disk, directory, &id, 1, &unused)?;
        if let Some(parent) = directory.canonicalize()?.parent() {
            disk::sync_directory(&*disk, parent)?;
        }
        Ok(unused)
    };
    let Unused { file, length } = make().map_err(OpenError::io(directory))?;
    let layout = Layout::new(directory.to_owned(), id, Files { snapshot: None, segments: [1].into(), last: 0 });
    let current = Current { file, end: HEADER_BYTES as u64, length };
    let journal = Journal::without_records(directory, lock, options, id, layout, current);
    let opened =
        Opened { id, snapshot_sequence: 0, last_sequence: 0, cut: None, bad_snapshots: Vec::new(), created: true };
    Ok((journal, opened))
}

pub(super) fn remove(paths: &[PathBuf]) -> io::Result<()> {
    paths.iter().try_for_each(fs::remove_file)
}

/// Completes the steps that a crash interrupted.
fn complete_interrupted(directory: &Path, options: &Options, survey: &Survey) -> io::Result<Option<Cut>> {
    let disk = &*options.disk;
    disk::sync_directory(disk, directory)?;
    remove(&survey.temporary)?;
    remove(&survey.covered)?;
    let (Some(id), Some((newest, older))) = (survey.id, survey.segments.split_last()) else { return Ok(None) };
    if newest.walk.records.is_empty()
        && let Some(before) = older.last()
    {
        // Written even if it exists: see step 4.
        write_seal(disk, before, &id, newest.first)?;
    }
    let cut = cut_tail(disk, newest)?;
    rewrite_last_batch(disk, newest)?;
    Ok(cut)
}

fn write_seal(disk: &dyn Disk, segment: &GoodSegment, id: &JournalId, next: u64) -> io::Result<()> {
    let file = open_for_writing(&segment.path)?;
    let mut bytes = Vec::new();
    record::encode(&mut bytes, id, next, Role::Seal, &[]);
    let seal = segment.walk.last_batch.end;
    // The remains of a seal cannot be longer than a seal. But no bytes may remain after it either.
    bytes.resize(bytes.len().max(segment.walk.rest.used.end.saturating_sub(seal)), 0);
    disk.write(&file, &bytes, seal as u64)?;
    disk.sync(&file)
}

fn cut_tail(disk: &dyn Disk, newest: &GoodSegment) -> io::Result<Option<Cut>> {
    if newest.walk.is_clean() {
        return Ok(None);
    }
    let file = open_for_writing(&newest.path)?;
    let offset = newest.walk.last_batch.end;
    let bytes = newest.walk.rest.used.end - offset;
    disk.write(&file, &vec![0; bytes], offset as u64)?;
    disk.sync(&file)?;
    Ok(Some(Cut { file: newest.path.clone(), offset: offset as u64, bytes: bytes as u64 }))
}

fn rewrite_last_batch(disk: &dyn Disk, newest: &GoodSegment) -> io::Result<()> {
    let batch = newest.walk.last_batch.clone();
    let file = open_for_writing(&newest.path)?;
    let mut bytes = vec![0; batch.len()];
    file.read_exact_at(&mut bytes, batch.start as u64)?;
    disk.write(&file, &bytes, batch.start as u64)?;
    disk.sync(&file)
}
