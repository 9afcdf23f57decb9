//! The journal: all facts in durable order, in segments and snapshots (`docs/on-disk-format.md`, "Journal").
//!
//! One [`Journal`] appends, and any number of [`JournalReader`]s read the durable records. Nothing here is
//! asynchronous: every call may block on the disk.

mod compact;
mod disk;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod open;
mod reading;
mod record;
mod repair;
mod replay;
mod segment;
mod snapshot;
mod survey;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use content_store::Room;

use crate::catalog::fact::Fact;

pub use compact::{Compaction, FinishedCompaction};
pub use disk::{Disk, SystemDisk};
pub use error::{AppendError, CompactionError, FactsSinceError, OpenError, ReplayError};
pub use open::{Cut, Opened, open_to_read};
pub use record::{InvalidJournalId, JournalId, MAX_BATCH_BYTES, MAX_PAYLOAD_BYTES};
pub use repair::{MissingRecords, RepairError, Repaired, repair, verify};
pub use replay::{JournalReader, Replay};
pub use survey::{Finding, FindingKind, files, is_file};

use record::{Role, SEAL_BYTES, TooLarge};
use replay::Layout;
use segment::{HEADER_BYTES, Unused};

/// Default length of a segment.
pub const SEGMENT_BYTES: u64 = 8 << 20;
/// Default reserve at the end of each segment, closed to ordinary batches: room for some thousand deletes.
pub const RESERVE_BYTES: u64 = 1 << 20;
/// Longest segment: one with a single batch of the largest size, and a reserve.
pub const MAX_SEGMENT_BYTES: u64 = MAX_BATCH_BYTES as u64 + (16 << 20);

/// Options of a journal.
#[derive(Clone)]
pub struct Options {
    /// Bytes of the file system that segments leave free, except those for batches that free space.
    pub keep_free: u64,
    /// Length of a segment; at least the reserve and some records. A batch that needs more gets a longer segment.
    pub segment_bytes: u64,
    /// Bytes at the end of each segment that only [`AppendKind::Releasing`] may use.
    pub reserve_bytes: u64,
    /// Least bytes in the tail for a compaction.
    pub compact_at_least: u64,
    /// Bytes in the tail that always cause a compaction, so that starts stay short.
    pub compact_at_most: u64,
    /// A record that this journal is known to have synced. A journal that ends before it has lost records.
    pub known_end: Option<(JournalId, u64)>,
    /// The disk to write to.
    pub disk: Arc<dyn Disk>,
    /// Generates the id of a new journal.
    pub new_id: fn() -> std::io::Result<JournalId>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_free: 0,
            segment_bytes: SEGMENT_BYTES,
            reserve_bytes: RESERVE_BYTES,
            compact_at_least: 16 << 20,
            compact_at_most: 256 << 20,
            known_end: None,
            disk: Arc::new(SystemDisk),
            new_id: JournalId::random,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("segment_bytes", &self.segment_bytes).finish_non_exhaustive()
    }
}

/// Whether a batch may use the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendKind {
    /// It may not. [`AppendError::DiskFull`] comes earlier.
    Ordinary,
    /// It may, since it frees space (a delete, a cancel, a collection).
    Releasing,
}

/// A journal open for appending. It locks its directory, so there is one at a time.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    options: Options,
    id: JournalId,
    /// The files that readers may see.
    layout: Arc<Layout>,
    current: Current,
    /// Room for segments.
    room: Room,
    /// The next segment, allocated in advance.
    spare: Option<Unused>,
    /// Allocation in advance is tried once per segment, so that a full disk does not slow every append.
    spare_tried: bool,
    last: u64,
    /// Bytes of frames since the snapshot.
    tail_bytes: u64,
    snapshot_bytes: u64,
    failed: bool,
    /// Alive while a compaction runs.
    compacting: Weak<()>,
    /// Locked until the journal is dropped.
    _lock: File,
}

/// The segment that batches are appended to.
#[derive(Debug)]
struct Current {
    file: File,
    /// Offset of the next batch.
    end: u64,
    length: u64,
}

impl Current {
    /// True without batches. An empty segment is replaced, since its successor would begin with the same sequence.
    fn is_empty(&self) -> bool {
        self.end == HEADER_BYTES as u64
    }

    /// Bytes of its frames.
    fn used(&self) -> u64 {
        self.end - HEADER_BYTES as u64
    }

    fn has_room(&self, bytes: u64, reserve: u64) -> bool {
        // The seal must always fit.
        self.end + bytes + reserve + SEAL_BYTES as u64 <= self.length
    }
}

impl Journal {
    /// The journal's id.
    pub fn id(&self) -> JournalId {
        self.id
    }

    /// The sequence of the last durable record; 0 if there is none.
    pub fn last_sequence(&self) -> u64 {
        self.last
    }

    /// True after a failed write or sync. No append succeeds until [`Journal::reopen`] does.
    pub fn is_failed(&self) -> bool {
        self.failed
    }

    /// A reader, to be used while the journal is appended to.
    pub fn reader(&self) -> JournalReader {
        JournalReader::new(Arc::clone(&self.layout))
    }

    /// See [`JournalReader::replay_state`].
    pub fn replay_state(&self) -> Result<Replay, ReplayError> {
        self.reader().replay_state()
    }

    /// See [`JournalReader::facts_since`].
    pub fn facts_since(&self, sequence: u64) -> Result<Replay, FactsSinceError> {
        self.reader().facts_since(sequence)
    }

    /// Appends a batch and makes it durable. Returns the sequences of its records; the range is empty if there are
    /// none. `time_ms`: milliseconds since the Unix epoch.
    ///
    /// Durable steps, and what a crash after each leaves behind:
    /// 1. if the batch needs a new segment, it is created first: a crash leaves an empty last segment;
    /// 2. one write: nothing, or a torn batch, which the next open cuts, or the whole batch, never acknowledged;
    /// 3. one fdatasync: the batch.
    pub fn append(
        &mut self,
        facts: &[Fact],
        time_ms: u64,
        kind: AppendKind,
    ) -> Result<RangeInclusive<u64>, AppendError> {
        if self.failed {
            return Err(AppendError::Failed);
        }
        let first = self.last + 1;
        if facts.is_empty() {
            return Ok(first..=self.last);
        }
        let frames = record::encode_batch(&self.id, first, time_ms, facts).map_err(|TooLarge| AppendError::TooLarge)?;
        let bytes = frames.len() as u64;
        self.make_room(bytes, kind)?;
        self.write(&frames)?;
        self.current.end += bytes;
        self.tail_bytes += bytes;
        self.last += facts.len() as u64;
        self.layout.set_last(self.last);
        self.allocate_ahead(kind);
        Ok(first..=self.last)
    }

    fn make_room(&mut self, bytes: u64, kind: AppendKind) -> Result<(), AppendError> {
        if self.current.has_room(bytes, self.options.reserve_bytes) {
            return Ok(());
        }
        match self.roll(bytes, kind) {
            Err(AppendError::DiskFull) if kind == AppendKind::Releasing && self.current.has_room(bytes, 0) => Ok(()),
            result => result,
        }
    }

    /// Seals the current segment and begins the next one, with room for an ordinary batch of `bytes`. An ordinary batch
    /// gets a segment only if there is room for one more after it, so that the last one is left to batches that free
    /// space. Those may use the space that is kept free, too.
    ///
    /// Durable steps, and what a crash after each leaves behind:
    /// 1. space is reserved (often in advance): a temporary file, removed at open. A full disk is noticed here;
    /// 2. [`segment::enter`]: an empty last segment, and the one before has no seal: the next open writes it;
    /// 3. the seal: an empty last segment.
    fn roll(&mut self, bytes: u64, kind: AppendKind) -> Result<(), AppendError> {
        let length = self.length_for(bytes);
        let room = (kind == AppendKind::Ordinary).then(|| self.room.reserve(length)).transpose();
        // If the free space cannot be read, the allocation decides.
        if room.as_ref().is_err_and(disk::is_full) {
            return Err(AppendError::DiskFull);
        }
        let disk = Arc::clone(&self.options.disk);
        let unused = match self.spare.take().filter(|spare| spare.length >= length) {
            Some(spare) => spare,
            None => match segment::allocate(&*disk, &self.directory, length) {
                Ok(unused) => unused,
                Err(error) if disk::is_full(&error) => return Err(AppendError::DiskFull),
                Err(error) => return Err(self.fail("the next segment could not be created", &error)),
            },
        };
        let first = self.last + 1;
        if let Err(error) = segment::enter(&*disk, &self.directory, &self.id, first, &unused) {
            return Err(self.fail("the next segment could not be made durable", &error));
        }
        if !self.current.is_empty() {
            let mut seal = Vec::new();
            record::encode(&mut seal, &self.id, first, Role::Seal, &[]);
            self.write(&seal)?;
            self.layout.add_segment(first);
        }
        self.current = Current { file: unused.file, end: HEADER_BYTES as u64, length: unused.length };
        self.spare_tried = false;
        Ok(())
    }

    fn length_for(&self, bytes: u64) -> u64 {
        let needed = HEADER_BYTES as u64 + bytes + self.options.reserve_bytes + SEAL_BYTES as u64;
        if needed <= self.options.segment_bytes { self.options.segment_bytes } else { needed.next_multiple_of(4096) }
    }

    /// Allocates the next segment in advance: the room for records when the disk is full. If that fails, the roll
    /// retries and reports the error.
    pub fn allocate_ahead(&mut self, kind: AppendKind) {
        if self.spare.is_some() || self.spare_tried {
            return;
        }
        self.spare_tried = true;
        let length = self.options.segment_bytes;
        let room = (kind == AppendKind::Ordinary).then(|| self.room.reserve(length)).transpose();
        if room.is_ok() {
            self.spare = segment::allocate(&*self.options.disk, &self.directory, length).ok();
        }
    }

    /// Writes at the end of the current segment and syncs. After an error the content on disk is unknown: Linux drops
    /// pages whose write-back failed, and reports the error only once. So no further write may follow.
    fn write(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
        let disk = Arc::clone(&self.options.disk);
        let written = disk.write(&self.current.file, bytes, self.current.end);
        match written.and_then(|()| disk.sync(&self.current.file)) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail("a batch could not be made durable", &error)),
        }
    }

    fn fail(&mut self, what: &str, error: &std::io::Error) -> AppendError {
        tracing::error!(error = %error, "the journal failed, this node is read-only until it can be written again: {what}");
        self.failed = true;
        AppendError::Failed
    }
}
