//! Compaction: merges the previous snapshot and the sealed segments since then into a new snapshot.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::iter::Peekable;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use content_store::Reserved;

use super::disk::{self, Disk};
use super::error::{AppendError, CompactionError, ReplayError};
use super::record::{self, FRAME_HEADER_BYTES, JournalId};
use super::replay::{self, SegmentRecords};
use super::segment;
use super::snapshot::{self, SnapshotHeader, SnapshotReader, SnapshotWriter};
use super::{AppendKind, Journal};

/// A compaction ready to run on any thread. The journal can be appended to meanwhile. Dropping it cancels it.
#[derive(Debug)]
pub struct Compaction {
    directory: PathBuf,
    id: JournalId,
    disk: Arc<dyn Disk>,
    previous: Option<u64>,
    /// Segments to merge, all sealed.
    segments: Vec<u64>,
    sequence: u64,
    tail_bytes: u64,
    under_way: Arc<()>,
}

/// A new snapshot, durable and read back. [`Journal::finish_compaction`] puts it into use.
#[derive(Debug)]
pub struct FinishedCompaction {
    sequence: u64,
    bytes: u64,
    records: u64,
    tail_bytes: u64,
    under_way: Arc<()>,
}

impl FinishedCompaction {
    /// The last record in the snapshot.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Bytes of the snapshot's file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of records in the snapshot.
    pub fn records(&self) -> u64 {
        self.records
    }
}

impl Journal {
    /// True if the tail is long enough to be merged and no compaction is running.
    pub fn needs_compaction(&self) -> bool {
        self.is_worth_merging(self.tail_bytes) && !self.failed && self.compacting.strong_count() == 0
    }

    fn is_worth_merging(&self, bytes: u64) -> bool {
        let least = self.options.compact_at_least;
        let most = self.options.compact_at_most.max(least);
        bytes > (self.snapshot_bytes / 2).clamp(least, most)
    }

    /// Reserves room for a compaction: about the bytes of the previous snapshot and the tail. A compaction frees space
    /// at its end, so it may use half of what is kept free.
    pub fn reserve_for_compaction(&self) -> io::Result<Reserved> {
        self.room.leaving(self.options.keep_free / 2).reserve(self.snapshot_bytes + self.tail_bytes)
    }

    /// Seals the current segment, so that all records up to now can be merged. `None` if there are no records since the
    /// last compaction. If the sealed segments are enough for a compaction, the current segment stays open. Otherwise
    /// each of several failing compactions would begin a segment and leave a nearly empty one behind.
    ///
    /// Durable steps: those of a roll, or none.
    pub fn begin_compaction(&mut self) -> Result<Option<Compaction>, CompactionError> {
        if self.failed {
            return Err(CompactionError::Failed);
        }
        if self.compacting.strong_count() > 0 {
            return Err(CompactionError::Busy);
        }
        if self.last == self.layout.files().snapshot.unwrap_or(0) {
            return Ok(None);
        }
        if !self.current.is_empty() && !self.is_worth_merging(self.tail_bytes - self.current.used()) {
            self.roll(0, AppendKind::Releasing).map_err(|error| match error {
                AppendError::DiskFull => CompactionError::DiskFull,
                AppendError::Failed | AppendError::TooLarge => CompactionError::Failed,
            })?;
        }
        let mut files = self.layout.files();
        // An empty segment begins after the last record, whether or not the layout has it already.
        let sequence = match files.segments.back() {
            Some(current) if !self.current.is_empty() => *current - 1,
            _ => self.last,
        };
        files.segments.retain(|first| *first <= sequence);
        let under_way = Arc::new(());
        self.compacting = Arc::downgrade(&under_way);
        Ok(Some(Compaction {
            directory: self.directory.clone(),
            id: self.id,
            disk: Arc::clone(&self.options.disk),
            previous: files.snapshot,
            segments: files.segments.into(),
            sequence,
            tail_bytes: self.tail_bytes - self.current.used(),
            under_way,
        }))
    }

    /// Puts the new snapshot into use for readers, and removes the files that it covers. After an error, files remain
    /// that the next compaction or the next open removes. Nothing is lost.
    ///
    /// Durable steps: the older snapshots are removed, then the covered segments, then the directory is synced. A crash
    /// at any point leaves some of them, and the next open removes the rest.
    pub fn finish_compaction(&mut self, finished: FinishedCompaction) -> io::Result<()> {
        let FinishedCompaction { sequence: snapshot, bytes, tail_bytes, under_way, .. } = finished;
        drop(under_way);
        self.snapshot_bytes = bytes;
        self.tail_bytes -= tail_bytes;
        let covered = self.layout.set_snapshot(snapshot);
        let older = super::survey::list(&self.directory)?.snapshots;
        for sequence in older.into_iter().filter(|sequence| *sequence < snapshot) {
            fs::remove_file(super::snapshot::path(&self.directory, sequence))?;
        }
        for first in covered {
            fs::remove_file(segment::path(&self.directory, first))?;
        }
        disk::sync_directory(&*self.options.disk, &self.directory)
    }
}

/// The position of the last record about a thing.
#[derive(Clone, Copy, Debug)]
struct Latest {
    segment: usize,
    offset: u64,
    sequence: u64,
    is_removal: bool,
}

impl Compaction {
    /// The last record that the snapshot will contain.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Writes the snapshot. Its memory use is the keys of the tail, which [`super::Options::compact_at_most`] limits.
    ///
    /// Durable steps, and what a crash after each leaves behind:
    /// 1. written as `snapshot-….tmp`, synced, read back from the disk: a temporary file, removed at open;
    /// 2. renamed, the directory synced: both snapshots, of which the newer counts; the next open removes the older one
    ///    and the covered segments.
    pub fn run(self) -> Result<FinishedCompaction, CompactionError> {
        let target = snapshot::path(&self.directory, self.sequence);
        let temporary = target.with_extension("tmp");
        let result = self.write_and_check(&temporary);
        if result.is_err() {
            // Best effort, to free the space. The next open removes any remains.
            let _ = fs::remove_file(&temporary);
        }
        let verified = result?;
        fs::rename(&temporary, &target).map_err(io_error(&target))?;
        disk::sync_directory(&*self.disk, &self.directory).map_err(io_error(&self.directory))?;
        Ok(FinishedCompaction {
            sequence: self.sequence,
            bytes: verified.bytes,
            records: verified.count,
            tail_bytes: self.tail_bytes,
            under_way: self.under_way,
        })
    }

    fn write_and_check(&self, temporary: &Path) -> Result<snapshot::Verified, CompactionError> {
        let tail = self.index_tail()?;
        let file = File::create(temporary).map_err(io_error(temporary))?;
        let header = SnapshotHeader { id: self.id, sequence: self.sequence, ledger_next: None };
        let mut writer = SnapshotWriter::new(file, &header).map_err(io_error(temporary))?;
        self.merge(tail, &mut writer, temporary)?;
        let file = writer.finish().map_err(io_error(temporary))?;
        make_durable(&*self.disk, &file).map_err(io_error(temporary))?;
        snapshot::verify(temporary, self.sequence).map_err(|fault| CompactionError::BadSnapshot {
            path: temporary.to_owned(),
            why: format!("at byte {}: {}", fault.offset, fault.why),
        })
    }

    fn index_tail(&self) -> Result<BTreeMap<Vec<u8>, Latest>, CompactionError> {
        let after = self.previous.unwrap_or(0);
        let mut tail = BTreeMap::new();
        for (segment, &first) in self.segments.iter().enumerate() {
            let mut records = SegmentRecords::open(&self.directory, self.id, first)?;
            while let Some((offset, record)) = records.next(after)? {
                let (sequence, is_removal) = (record.sequence, record.fact.is_removal());
                tail.insert(record.fact.key(), Latest { segment, offset, sequence, is_removal });
            }
        }
        Ok(tail)
    }

    fn merge(
        &self,
        tail: BTreeMap<Vec<u8>, Latest>,
        writer: &mut SnapshotWriter,
        temporary: &Path,
    ) -> Result<(), CompactionError> {
        let files = self.open_segments()?;
        let mut payload = Vec::new();
        let mut tail = tail.into_iter().peekable();
        if let Some(sequence) = self.previous {
            let path = snapshot::path(&self.directory, sequence);
            let fault = |fault| CompactionError::Read(replay::snapshot_error(&path, &fault));
            let file = File::open(&path).map_err(io_error(&path))?;
            let mut entries = SnapshotReader::open(file, sequence).map_err(fault)?;
            while let Some(entry) = entries.next() {
                let entry = entry.map_err(fault)?;
                while let Some((_, latest)) = tail.next_if(|(key, _)| *key < entry.key) {
                    self.push(writer, &files, latest, &mut payload, temporary)?;
                }
                if !is_replaced(&mut tail, &entry.key) {
                    writer.push(entry.record.sequence, entries.payload()).map_err(io_error(temporary))?;
                }
            }
        }
        tail.try_for_each(|(_, latest)| self.push(writer, &files, latest, &mut payload, temporary))
    }

    fn open_segments(&self) -> Result<Vec<(PathBuf, File)>, CompactionError> {
        let open = |first: &u64| {
            let path = segment::path(&self.directory, *first);
            let file = File::open(&path).map_err(io_error(&path))?;
            Ok((path, file))
        };
        self.segments.iter().map(open).collect()
    }

    fn push(
        &self,
        writer: &mut SnapshotWriter,
        files: &[(PathBuf, File)],
        latest: Latest,
        payload: &mut Vec<u8>,
        temporary: &Path,
    ) -> Result<(), CompactionError> {
        if latest.is_removal {
            return Ok(());
        }
        let (path, file) = &files[latest.segment];
        read_payload(file, &self.id, latest, payload).map_err(|why| ReplayError {
            file: path.clone(),
            offset: latest.offset,
            why,
        })?;
        writer.push(latest.sequence, payload).map_err(io_error(temporary))
    }
}

/// True if the tail has a later record about the thing. That record is then next in the tail.
fn is_replaced<V>(tail: &mut Peekable<impl Iterator<Item = (Vec<u8>, V)>>, key: &[u8]) -> bool {
    tail.peek().is_some_and(|(next, _)| next == key)
}

/// Reads a record again and verifies its checksum.
fn read_payload(file: &File, id: &JournalId, latest: Latest, payload: &mut Vec<u8>) -> Result<(), String> {
    let mut header = [0; FRAME_HEADER_BYTES];
    file.read_exact_at(&mut header, latest.offset).map_err(|error| error.to_string())?;
    let length = record::payload_length(&header).map_err(|error| error.to_string())?;
    payload.resize(record::frame_size(length), 0);
    file.read_exact_at(payload, latest.offset).map_err(|error| error.to_string())?;
    let frame = record::decode(payload, id).map_err(|error| error.to_string())?;
    if frame.sequence != latest.sequence {
        return Err(record::FrameError::Misplaced.to_string());
    }
    payload.truncate(FRAME_HEADER_BYTES + length);
    payload.drain(..FRAME_HEADER_BYTES);
    Ok(())
}

/// Syncs a new file, and drops it from the page cache so that the next read comes from the disk.
pub(super) fn make_durable(disk: &dyn Disk, file: &File) -> io::Result<()> {
    disk.sync(file)?;
    disk::forget_pages(file);
    Ok(())
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> CompactionError {
    let path = path.to_owned();
    move |source| {
        if disk::is_full(&source) { CompactionError::DiskFull } else { CompactionError::Io { path, source } }
    }
}
