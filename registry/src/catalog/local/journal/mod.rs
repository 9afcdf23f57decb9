//! The journal: the durable order of facts, in segments and snapshots (`docs/on-disk-format.md`, "Journal").
//!
//! One [`Journal`] appends; any number of [`JournalReader`]s read what is durable. Nothing here is asynchronous: every
//! call may wait for the disk.

mod compact;
mod disk;
mod error;
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

/// Length of a segment unless [`Options`] say otherwise.
pub const SEGMENT_BYTES: u64 = 8 << 20;
/// The end of each segment that ordinary batches leave free, unless [`Options`] say otherwise: room for some thousand deletes.
pub const RESERVE_BYTES: u64 = 1 << 20;
/// Longest segment: one that holds a single batch of the largest size, and a reserve.
pub const MAX_SEGMENT_BYTES: u64 = MAX_BATCH_BYTES as u64 + (16 << 20);

/// How a journal shall behave.
#[derive(Clone)]
pub struct Options {
    /// Length of a segment; at least the reserve and some records. One batch that needs more gets a longer segment.
    pub segment_bytes: u64,
    /// The end of each segment that only [`AppendKind::Releasing`] may use.
    pub reserve_bytes: u64,
    /// A tail of fewer bytes is never worth a compaction.
    pub compact_at_least: u64,
    /// A tail of more bytes is always worth one, so that starts stay short.
    pub compact_at_most: u64,
    /// That this journal once held everything up to this record, synced: one that ends before it has lost some.
    pub known_end: Option<(JournalId, u64)>,
    /// What to write with.
    pub disk: Arc<dyn Disk>,
    /// Makes the id of a new journal.
    pub new_id: fn() -> std::io::Result<JournalId>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
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
    /// It may not: [`AppendError::DiskFull`] comes earlier.
    Ordinary,
    /// It frees space (a delete, a cancel, a collection), so it may.
    Releasing,
}

/// The journal, open for appending. There is one per directory: it holds the directory's lock.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    options: Options,
    id: JournalId,
    /// What readers may see.
    layout: Arc<Layout>,
    current: Current,
    /// The next segment, allocated ahead.
    spare: Option<Unused>,
    /// Allocation ahead is tried once per segment, so that a full disk does not slow every append.
    spare_tried: bool,
    last: u64,
    /// Framed bytes since the snapshot.
    tail_bytes: u64,
    snapshot_bytes: u64,
    failed: bool,
    /// Alive while a compaction is under way.
    compacting: Weak<()>,
    /// Held until the journal is dropped.
    _lock: File,
}

/// The segment that is appended to.
#[derive(Debug)]
struct Current {
    file: File,
    /// Where the next batch goes.
    end: u64,
    length: u64,
}

impl Current {
    /// An empty segment is replaced rather than followed by another that would begin with the same sequence.
    fn is_empty(&self) -> bool {
        self.end == HEADER_BYTES as u64
    }

    /// Framed bytes in it.
    fn used(&self) -> u64 {
        self.end - HEADER_BYTES as u64
    }

    fn has_room(&self, bytes: u64, reserve: u64) -> bool {
        // A seal must always fit.
        self.end + bytes + reserve + SEAL_BYTES as u64 <= self.length
    }
}

impl Journal {
    /// Names the journal.
    pub fn id(&self) -> JournalId {
        self.id
    }

    /// The sequence of the last durable record; 0 if there is none.
    pub fn last_sequence(&self) -> u64 {
        self.last
    }

    /// True after a failed write or sync: no append will ever succeed again.
    pub fn is_failed(&self) -> bool {
        self.failed
    }

    /// A handle that reads while this one appends.
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

    /// Appends a batch and makes it durable; gives the sequences of its records, an empty range if there are none.
    /// `time_ms`: milliseconds since the Unix epoch.
    ///
    /// Durable steps, and what a crash after each leaves behind:
    /// 1. if the batch needs a new segment, it is made first: a crash leaves an empty last segment;
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
        self.allocate_ahead();
        Ok(first..=self.last)
    }

    fn make_room(&mut self, bytes: u64, kind: AppendKind) -> Result<(), AppendError> {
        if self.current.has_room(bytes, self.options.reserve_bytes) {
            return Ok(());
        }
        match self.roll(bytes) {
            Err(AppendError::DiskFull) if kind == AppendKind::Releasing && self.current.has_room(bytes, 0) => Ok(()),
            result => result,
        }
    }

    /// Seals the current segment and begins the next one, with room for an ordinary batch of `bytes`.
    ///
    /// Durable steps, and what a crash after each leaves behind:
    /// 1. space reserved (often done ahead): a temporary file, removed at open. Here a full disk is noticed;
    /// 2. [`segment::enter`]: an empty last segment, and the one before has no seal: the next open writes it;
    /// 3. the seal: an empty last segment.
    fn roll(&mut self, bytes: u64) -> Result<(), AppendError> {
        let length = self.length_for(bytes);
        let disk = Arc::clone(&self.options.disk);
        let unused = match self.spare.take().filter(|spare| spare.length >= length) {
            Some(spare) => spare,
            None => match segment::allocate(&*disk, &self.directory, length) {
                Ok(unused) => unused,
                Err(error) if disk::is_full(&error) => return Err(AppendError::DiskFull),
                Err(error) => return Err(self.fail("the next segment could not be made", &error)),
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

    /// Best effort: if it fails, the roll tries again and says why.
    fn allocate_ahead(&mut self) {
        if self.spare.is_some() || self.spare_tried || self.current.end < self.current.length / 2 {
            return;
        }
        self.spare_tried = true;
        self.spare = segment::allocate(&*self.options.disk, &self.directory, self.options.segment_bytes).ok();
    }

    /// Writes at the end of the current segment and syncs. After an error nobody knows what is on disk (Linux drops
    /// pages whose write-back failed and reports it once), so nothing may follow.
    fn write(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
        let disk = Arc::clone(&self.options.disk);
        let written = disk.write(&self.current.file, bytes, self.current.end);
        match written.and_then(|()| disk.sync(&self.current.file)) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail("a batch could not be made durable", &error)),
        }
    }

    fn fail(&mut self, what: &str, error: &std::io::Error) -> AppendError {
        tracing::error!(error = %error, "the journal failed, this node is read-only until a restart: {what}");
        self.failed = true;
        AppendError::Failed
    }
}
