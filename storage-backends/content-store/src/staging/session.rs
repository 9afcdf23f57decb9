//! An open session: bytes added, synced and rolled back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::segments::Segments;
use super::{Place, SessionState, segments, write_record};
use crate::room::{OVERHEAD, Reserved};
use crate::{StoreError, UploadId, disk};

/// Bytes between two sync points. A power cut loses at most this much, and the closing sync has about this much left to
/// write.
pub const SYNC_STEP: u64 = 64 * 1024 * 1024;

/// An open session, its only handle. Dropping it keeps the session on disk, at its last sync point.
#[derive(Debug)]
pub struct Session<R> {
    place: Arc<Place>,
    id: UploadId,
    path: PathBuf,
    /// As it is on the disk, or is to be at the next sync point.
    state: R,
    files: Segments,
    /// The offset of the last sync point.
    synced: u64,
    /// The highest offset that the record on disk may state.
    recorded: u64,
    /// Whether the session's directory is known to be durable.
    entry_durable: bool,
    /// Room for the next bytes and the next record, until the next sync point.
    slice: Option<Reserved>,
    /// After a failure, the bytes past the last sync point are unknown.
    poisoned: bool,
}

impl<R: SessionState> Session<R> {
    pub(super) fn new(place: &Arc<Place>, id: &UploadId, state: R, files: Segments) -> Self {
        let (path, recorded, synced) = (place.session(id), state.offset(), files.length());
        let (place, id) = (Arc::clone(place), id.clone());
        Session { place, id, path, state, files, synced, recorded, entry_durable: false, slice: None, poisoned: false }
    }

    /// The session's id.
    pub fn id(&self) -> &UploadId {
        &self.id
    }

    /// The state to be recorded. Its offset and time are set when it is.
    pub fn state(&self) -> &R {
        &self.state
    }

    /// Changes what the next sync point records.
    pub fn state_mut(&mut self) -> &mut R {
        &mut self.state
    }

    /// Bytes received so far.
    pub fn offset(&self) -> u64 {
        self.files.length()
    }

    /// The offset of the last sync point, which is certain.
    pub fn synced(&self) -> u64 {
        self.synced
    }

    /// The files with the bytes, each with its number of bytes.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        segments::files(&self.path, self.place.segment, self.offset())
    }

    /// True if a sync point is due after this number of further bytes.
    pub(crate) fn is_due_after(&self, bytes: usize) -> bool {
        self.offset() + bytes as u64 - self.synced >= SYNC_STEP
    }

    /// Adds the next bytes, all of them or none, and makes a sync point every 64 MiB. If the sync point fails, the bytes
    /// are added, and not certain.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let due = self.is_due_after(bytes.len());
        self.write(bytes)?;
        if due { self.sync_point() } else { Ok(()) }
    }

    /// Adds the next bytes: all of them, or none if it fails. Every byte of every session passes here, after room for it
    /// was reserved.
    ///
    /// Errors: [`StoreError::DiskFull`] leaves the session usable at its offset before the call. After any other error,
    /// the session may return [`StoreError::UploadPoisoned`] from then on.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.check_sound()?;
        // Otherwise these bytes would be mistaken for others that the record states.
        self.sync_if_behind()?;
        let before = self.offset();
        let mut slice = self.slice_for(bytes.len() as u64)?;
        self.files.append(bytes).inspect_err(|error| {
            let cut = self.files.cut(before);
            // Only a full disk is known to leave earlier bytes untouched.
            self.poisoned = cut.is_err() || !error.is_disk_full();
        })?;
        slice.written(bytes.len() as u64);
        self.slice = Some(slice);
        let synced = self.files.sync_oldest();
        self.poison_on(synced)
    }

    /// The slice, or a new one if this number of bytes and a record do not fit into its rest. After any failure the
    /// session has none: it may stay idle for long.
    fn slice_for(&mut self, bytes: u64) -> Result<Reserved, StoreError> {
        let needed = bytes.saturating_add(OVERHEAD);
        match self.slice.take().filter(|slice| slice.bytes() >= needed) {
            Some(slice) => Ok(slice),
            None => self.place.granted(self.place.room.slice(needed)),
        }
    }

    /// Makes everything up to the offset survive a power cut.
    ///
    /// Errors: after a failed sync of the data the session is poisoned. A failed write of the record leaves the session
    /// usable, with the previous sync point.
    pub fn sync_point(&mut self) -> Result<(), StoreError> {
        self.check_sound()?;
        let offset = self.offset();
        // Given back at the end, when the record is written. The next request reserves a slice by itself.
        let _room = self.slice.take();
        if self.entry_durable && self.synced == offset && self.recorded == offset {
            return Ok(());
        }
        // 1. The data. A crash after this: the old record stands, and the data is cut to what it says.
        self.sync_data()?;
        // 2. The record. From here on a crash leaves either record, and the data of both is durable.
        self.state.reach(offset, SystemTime::now());
        write_record(&self.path, &self.state, true)?;
        // Until its name is synced, a crash may leave this record or the previous one.
        self.recorded = self.recorded.max(offset);
        // 3. The names. A failure leaves it open which record will be found after a crash.
        let mut names = disk::sync_directory(&self.path).map_err(StoreError::io("sync", &self.path));
        if names.is_ok() && !self.entry_durable {
            names = disk::sync_directory(&self.place.path).map_err(StoreError::io("sync", &self.place.path));
        }
        self.poison_on(names)?;
        (self.synced, self.recorded, self.entry_durable) = (offset, offset, true);
        Ok(())
    }

    /// Discards all bytes from `offset` on; `false` if there are none. If the record may state more bytes than are left,
    /// the caller makes a sync point, or the next write does.
    ///
    /// Errors: [`StoreError::StaleMark`]; other failures poison the session.
    pub fn cut(&mut self, offset: u64) -> Result<bool, StoreError> {
        self.check_sound()?;
        if offset > self.offset() {
            return Err(StoreError::StaleMark { id: self.id.clone(), offset: self.offset(), mark: offset });
        }
        self.slice = None;
        if offset == self.offset() {
            return Ok(false);
        }
        // The data first, since that frees space for the record. A crash after this: the record states more bytes than
        // there are, so those that are left count.
        let cut = self.files.cut(offset);
        self.poison_on(cut)?;
        self.synced = self.synced.min(offset);
        Ok(true)
    }

    /// Makes a sync point if the record may state more bytes than there are.
    pub fn sync_if_behind(&mut self) -> Result<(), StoreError> {
        if self.recorded > self.offset() { self.sync_point() } else { Ok(()) }
    }

    /// Makes the bytes durable, but not their number.
    pub(crate) fn sync_data(&mut self) -> Result<(), StoreError> {
        let synced = self.files.sync();
        self.poison_on(synced)
    }

    /// Starts write-back of the bytes added since the last time.
    pub(crate) fn start_write_back(&mut self) {
        self.files.start_write_back();
    }

    pub(crate) fn check_sound(&self) -> Result<(), StoreError> {
        if self.poisoned { Err(StoreError::UploadPoisoned(self.id.clone())) } else { Ok(()) }
    }

    /// Poisons the session if a step failed that leaves its bytes unknown.
    pub(crate) fn poison_on<T>(&mut self, step: Result<T, StoreError>) -> Result<T, StoreError> {
        step.inspect_err(|_| self.poisoned = true)
    }
}

#[cfg(test)]
mod tests {
    use crate::disk::faults::{Step, plan};
    use crate::{ContentStore, UploadId};

    /// 4 MiB would be missing to others for as long as an idle session lives.
    #[test]
    fn an_idle_session_has_no_room() {
        let place = tempfile::tempdir().unwrap();
        let store = ContentStore::open(place.path()).unwrap();
        let mut upload = store.create_upload(&UploadId::from_random([7; 16]), "a", None).unwrap();
        let start = upload.mark();
        upload.append(b"abc").unwrap();
        assert!(upload.session.slice.as_ref().is_some_and(|slice| slice.bytes() > 0));
        upload.sync_point().unwrap();
        assert!(upload.session.slice.is_none(), "after a sync point");
        upload.append(b"def").unwrap();
        upload.roll_back(start).unwrap();
        assert!(upload.session.slice.is_none(), "after a rollback");
        plan(Step::Write, 0, libc::ENOSPC);
        upload.append(b"ghi").unwrap_err();
        assert!(upload.session.slice.is_none(), "after a failed write");
        upload.append(b"ghi").unwrap();
        plan(Step::Write, 0, libc::ENOSPC);
        upload.sync_point().unwrap_err();
        assert!(upload.session.slice.is_none(), "after a sync point that failed");
    }
}
