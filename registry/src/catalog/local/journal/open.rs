//! Opening: everything is read, what a crash interrupted is completed, anything else is refused.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::disk::{self, Disk};
use super::error::OpenError;
use super::record::{self, JournalId, Role};
use super::replay::{JournalReader, Layout};
use super::segment::{self, HEADER_BYTES, Unused};
use super::survey::{self, Finding, FindingKind, GoodSegment, Survey};
use super::{Current, Journal, Options};

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Names the journal.
    pub id: JournalId,
    /// Everything up to it is in a snapshot; 0 if there is none.
    pub snapshot_sequence: u64,
    /// The last record; 0 if there is none.
    pub last_sequence: u64,
    /// A torn batch was removed.
    pub cut: Option<Cut>,
    /// Newer snapshots that are bad; an older one and the segments since it were used instead.
    pub bad_snapshots: Vec<Finding>,
    /// The journal is new.
    pub created: bool,
}

/// What was removed of a batch that had not been acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub file: PathBuf,
    /// The byte where the batch began.
    pub offset: u64,
    /// How many bytes were set to zero from there on.
    pub bytes: u64,
}

impl Journal {
    /// Opens the journal in a directory; makes one if the directory is empty or absent and none is expected.
    ///
    /// Durable steps, and what a crash after each leaves behind: each only completes what an earlier crash
    /// interrupted and finds it again at the next open.
    /// 1. the directory is synced: a new segment's or snapshot's name may have been read from the cache only. Then
    ///    temporary files and what a compaction has covered are removed;
    /// 2. a torn batch is set to zero and synced;
    /// 3. a seal that is missing is written and synced;
    /// 4. the last batch is written again, as it is, and synced: it may have been read from the page cache only, and
    ///    after a failed sync the cache does not know that it never reached the disk;
    /// 5. a new journal: its first segment, then the directory's name.
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
        let cut = mend(directory, &options, &survey).map_err(OpenError::io(directory))?;
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
        let file = open_for_writing(&newest.path).map_err(OpenError::io(&newest.path))?;
        let current = Current { file, end: newest.walk.last_batch.end as u64, length: newest.length };
        let (base, last) = (survey.base(), survey.last());
        let opened = Opened {
            id,
            snapshot_sequence: base,
            last_sequence: last,
            cut,
            bad_snapshots: bad_snapshots(&survey.findings),
            created: false,
        };
        let firsts = survey.segments.iter().map(|segment| segment.first).collect();
        let layout = Layout::new(directory.to_owned(), id, survey.snapshot.as_ref().map(|_| base), firsts, last);
        let journal = Self {
            last,
            tail_bytes: survey.segments.iter().map(used_bytes).sum(),
            snapshot_bytes: survey.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes),
            ..Self::without_records(directory, lock, options, id, layout, current)
        };
        Ok((journal, opened))
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

/// Reads a journal that must not be changed, as far as it is durable and whole; a torn batch at its end is left out. The
/// directory may be read-only, and a node may append meanwhile. A journal without records has an id of zeros.
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
    let firsts = survey.segments.iter().map(|segment| segment.first).collect();
    let snapshot = survey.snapshot.as_ref().map(|snapshot| snapshot.sequence);
    let layout = Layout::new(directory.to_owned(), opened.id, snapshot, firsts, opened.last_sequence);
    Ok((JournalReader::new(Arc::new(layout)), opened))
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

/// How long a lock may be held by one who is about to let go: a process that ends, or a child of the last owner that was
/// forked and has not yet replaced itself.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Two processes that append would destroy each other's records.
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
    let layout = Layout::new(directory.to_owned(), id, None, [1].into(), 0);
    let current = Current { file, end: HEADER_BYTES as u64, length };
    let journal = Journal::without_records(directory, lock, options, id, layout, current);
    let opened =
        Opened { id, snapshot_sequence: 0, last_sequence: 0, cut: None, bad_snapshots: Vec::new(), created: true };
    Ok((journal, opened))
}

pub(super) fn remove(paths: &[PathBuf]) -> io::Result<()> {
    paths.iter().try_for_each(fs::remove_file)
}

/// Completes what a crash interrupted.
fn mend(directory: &Path, options: &Options, survey: &Survey) -> io::Result<Option<Cut>> {
    let disk = &*options.disk;
    disk::sync_directory(disk, directory)?;
    remove(&survey.temporary)?;
    remove(&survey.covered)?;
    let (Some(id), Some((newest, older))) = (survey.id, survey.segments.split_last()) else { return Ok(None) };
    if newest.walk.records.is_empty()
        && let Some(before) = older.last()
    {
        // Written again even if it is there: see step 4.
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
    // What a crash left of a seal may not be longer than one, but nothing after it may stay either.
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
