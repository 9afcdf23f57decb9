//! An open upload session: bytes appended, hashed, synced and rolled back.

use std::fs::File;
use std::io::{self, Seek};
use std::path::PathBuf;
use std::time::SystemTime;

use super::upload_state::UploadState;
use super::verify::{full_speed, hash_file};
use super::{ContentStore, StoreError, UploadId, disk, layout, unique_number};
use crate::digest::Algorithm;
use crate::hasher::Hasher;

/// Bytes between two starts of write-back, so that a sync finds little left to do.
const WRITE_BACK_STEP: u64 = 8 * 1024 * 1024;

/// Bytes between two sync points. A power cut loses at most this much, and the closing sync has about this much left to
/// write.
pub const SYNC_STEP: u64 = 64 * 1024 * 1024;

/// An upload in progress. It is the only handle of its session. Dropping it keeps the session on disk, at its last sync
/// point.
#[derive(Debug)]
pub struct Upload {
    pub(super) store: ContentStore,
    pub(super) id: UploadId,
    pub(super) owner: String,
    pub(super) started: SystemTime,
    pub(super) session: PathBuf,
    pub(super) file: File,
    pub(super) hasher: Hasher,
    pub(super) offset: u64,
    pub(super) sync: SyncState,
    /// Unique in this process; it changes with each rollback. A mark of the same lineage has a hash of bytes that are
    /// still in the file.
    pub(super) lineage: u64,
    /// After a failure, the file's bytes past the last sync point are unknown.
    pub(super) poisoned: bool,
}

/// The state of the upload on the disk.
#[derive(Debug)]
pub(super) struct SyncState {
    /// The offset of the last sync point that this handle completed.
    pub(super) completed: Option<u64>,
    /// The highest offset that the record on disk may state.
    pub(super) recorded: u64,
    /// Write-back was started up to here.
    pub(super) written_back: u64,
    /// Whether the session's directory is known to be durable in `uploads/`.
    pub(super) entry_durable: bool,
}

/// A point in an upload that it can be rolled back to.
#[derive(Clone, Debug)]
pub struct Mark {
    offset: u64,
    hasher: Hasher,
    lineage: u64,
}

impl Mark {
    /// Bytes of the upload before this point.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl Upload {
    /// The session's id.
    pub fn id(&self) -> &UploadId {
        &self.id
    }

    /// The owner given at the creation.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Bytes received so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The algorithm of the running hash.
    pub fn algorithm(&self) -> Algorithm {
        self.hasher.algorithm()
    }

    /// When the session was made.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// Appends the next bytes: all of them, or none if it fails. Makes a sync point every 64 MiB.
    ///
    /// Errors: [`StoreError::DiskFull`] leaves the upload usable at its offset before the call. After any other error,
    /// the upload may return [`StoreError::UploadPoisoned`] from then on.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.check_sound()?;
        if let Err(error) = disk::write_at(&self.file, bytes, self.offset) {
            return Err(self.undo_write(error));
        }
        let end = self.offset + bytes.len() as u64;
        let before = (end - self.synced() >= SYNC_STEP).then(|| self.mark());
        self.hasher.update(bytes);
        self.offset = end;
        if end - self.sync.written_back >= WRITE_BACK_STEP {
            self.start_write_back();
        }
        let Some(before) = before else { return Ok(()) };
        self.sync_point().inspect_err(|_| {
            // It fails if the upload is poisoned, or poisons it. The first error is the one that explains why.
            let _ = self.roll_back(before);
        })
    }

    /// Makes everything up to the offset survive a power cut.
    ///
    /// Errors: after a failed sync of the data the upload is poisoned. A failed write of the record leaves the upload
    /// usable, with the previous sync point.
    pub fn sync_point(&mut self) -> Result<(), StoreError> {
        self.check_sound()?;
        if self.sync.completed == Some(self.offset) {
            return Ok(());
        }
        let synced = self.make_sync_point();
        self.store.watch(synced)
    }

    fn make_sync_point(&mut self) -> Result<(), StoreError> {
        // 1. The data. A crash after this: the old record stands, and the data file is cut to what it says.
        let data = layout::data_file(&self.session);
        self.poison_on(|upload| disk::sync_data(&upload.file).map_err(StoreError::io("sync", &data)))?;
        // 2. The record. From here on a crash leaves either record, and the data of both is durable.
        self.write_record(true)?;
        // 3. The names. A failure leaves it open which record will be found after a crash.
        self.poison_on(|upload| {
            disk::sync_directory(&upload.session).map_err(StoreError::io("sync", &upload.session))
        })?;
        if !self.sync.entry_durable {
            let uploads = self.store.layout().uploads.clone();
            self.poison_on(|_| disk::sync_directory(&uploads).map_err(StoreError::io("sync", &uploads)))?;
        }
        let written_back = self.sync.written_back.max(self.offset);
        self.sync =
            SyncState { completed: Some(self.offset), recorded: self.offset, written_back, entry_durable: true };
        Ok(())
    }

    /// A mark at the current offset.
    pub fn mark(&self) -> Mark {
        Mark { offset: self.offset, hasher: self.hasher.clone(), lineage: self.lineage }
    }

    /// Discards all bytes after the mark.
    ///
    /// Errors: [`StoreError::StaleMark`]; other failures poison the upload.
    pub fn roll_back(&mut self, mark: Mark) -> Result<(), StoreError> {
        self.check_sound()?;
        if mark.offset > self.offset {
            return Err(StoreError::StaleMark { id: self.id.clone(), offset: self.offset, mark: mark.offset });
        }
        if mark.offset == self.offset {
            return Ok(());
        }
        self.poison_on(|upload| upload.cut(mark))
    }

    fn cut(&mut self, mark: Mark) -> Result<(), StoreError> {
        let data = layout::data_file(&self.session);
        // A mark from before another rollback may refer to replaced bytes: trust the file only.
        let hasher =
            if mark.lineage == self.lineage { mark.hasher } else { self.hash_again(self.algorithm(), mark.offset)? };
        // The data first, since that frees space for the record. A crash after this: the record states more bytes than
        // the file has, so the bytes are hashed again.
        self.file.set_len(mark.offset).map_err(StoreError::io("cut", &data))?;
        self.hasher = hasher;
        self.offset = mark.offset;
        self.lineage = unique_number();
        self.sync.completed = None;
        self.sync.written_back = self.sync.written_back.min(mark.offset);
        // Otherwise new bytes past the recorded offset would be mistaken for those of the recorded hash.
        if self.sync.recorded > self.offset { self.sync_point() } else { Ok(()) }
    }

    /// Hashes the first `length` bytes of the data file.
    pub(super) fn hash_again(&mut self, algorithm: Algorithm, length: u64) -> Result<Hasher, StoreError> {
        hash_again(&mut self.file, algorithm, length).map_err(StoreError::io("read", &layout::data_file(&self.session)))
    }

    /// Writes the record of the current offset.
    pub(super) fn write_record(&mut self, durable: bool) -> Result<(), StoreError> {
        let state = UploadState {
            owner: self.owner.clone(),
            algorithm: self.algorithm(),
            offset: self.offset,
            hash_state: self.hasher.export(),
            started: self.started,
            last_activity: SystemTime::now(),
        };
        state.replace(&self.session, durable)?;
        // Until its name is synced, a crash may leave this record or the previous one.
        self.sync.recorded = self.sync.recorded.max(self.offset);
        Ok(())
    }

    /// Starts write-back of the bytes added since the last time.
    pub(super) fn start_write_back(&mut self) {
        disk::start_write_back(&self.file, self.sync.written_back, self.offset - self.sync.written_back);
        self.sync.written_back = self.offset;
    }

    pub(super) fn check_sound(&self) -> Result<(), StoreError> {
        if self.poisoned { Err(StoreError::UploadPoisoned(self.id.clone())) } else { Ok(()) }
    }

    fn synced(&self) -> u64 {
        self.sync.completed.unwrap_or(self.sync.recorded).min(self.offset)
    }

    /// After a failed write, cuts off the bytes of it that were written.
    fn undo_write(&mut self, error: io::Error) -> StoreError {
        let data = layout::data_file(&self.session);
        let cut = self.file.set_len(self.offset);
        let error = StoreError::io("write", &data)(error);
        // Only a full disk is known to leave earlier bytes untouched.
        self.poisoned = cut.is_err() || !error.is_disk_full();
        self.store.note(&error);
        error
    }

    fn poison_on<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        step(self).inspect_err(|_| self.poisoned = true)
    }
}

/// Hashes the first `length` bytes of a file; fewer bytes are an error.
pub(super) fn hash_again(file: &mut File, algorithm: Algorithm, length: u64) -> io::Result<Hasher> {
    let mut hasher = Hasher::new(algorithm);
    file.rewind()?;
    let read = hash_file(file, length, &mut hasher, &mut full_speed)?.continue_value().unwrap_or_default();
    if read == length { Ok(hasher) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
