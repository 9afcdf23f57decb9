//! Upload sessions: a running hash over a session in one file.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::staging::Session;
use super::upload_state::{OWNER_LIMIT, UploadState};
use super::verify::{full_speed, hash_file};
use super::{ContentStore, StoreError, UploadId, disk, layout, unique_number};
use crate::digest::Algorithm;
use crate::hasher::Hasher;

/// An upload in progress. It is the only handle of its session. Dropping it keeps the session on disk, at its last sync
/// point.
#[derive(Debug)]
pub struct Upload {
    pub(super) store: ContentStore,
    pub(super) session: Session<UploadState>,
    pub(super) hasher: Hasher,
    /// Unique in this process; it changes with each rollback. A mark of the same lineage has a hash of bytes that are
    /// still in the file.
    lineage: u64,
}

/// A point in an upload that it can be rolled back to.
#[derive(Clone, Debug)]
pub struct Mark {
    offset: u64,
    hasher: Hasher,
    lineage: u64,
}

/// A session as found on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// The session's id.
    pub id: UploadId,
    /// The owner given at its creation.
    pub owner: String,
    /// The offset in bytes at which it would resume now.
    pub offset: u64,
    /// The time of the last bytes or sync point.
    pub last_activity: SystemTime,
}

impl ContentStore {
    /// Makes a session; it hashes with sha256 unless another algorithm is named. It survives the end of the process at
    /// once, and a power cut from its first sync point on. Before that it has no bytes that a client would miss.
    ///
    /// Errors: [`StoreError::UploadExists`], [`StoreError::OwnerTooLong`], [`StoreError::DiskFull`].
    pub fn create_upload(
        &self,
        id: &UploadId,
        owner: &str,
        algorithm: Option<Algorithm>,
    ) -> Result<Upload, StoreError> {
        if owner.len() > OWNER_LIMIT {
            return Err(StoreError::OwnerTooLong { length: owner.len(), limit: OWNER_LIMIT });
        }
        let hasher = Hasher::new(algorithm.unwrap_or(Algorithm::Sha256));
        // Until the record exists, the session looks like the leftover of a crash.
        let _guard = self.protect(id.to_string());
        let session = self.watch(self.sessions().create(id, UploadState::new(owner, &hasher)))?;
        Ok(Upload { store: self.clone(), session, hasher, lineage: unique_number() })
    }

    /// Opens a session at its certain offset: the last sync point, or less if the data file is shorter. `None` if there
    /// is no such session. No other [`Upload`] of it may exist.
    ///
    /// Errors: [`StoreError::NewerFormat`].
    pub fn open_upload(&self, id: &UploadId) -> Result<Option<Upload>, StoreError> {
        let Some(mut session) = self.sessions().open(id)? else { return Ok(None) };
        let state = session.state();
        let (algorithm, whole) = (state.algorithm, session.offset() == state.offset);
        let exported = state.hash_state.as_deref().filter(|_| whole);
        let hasher = match exported.and_then(|exported| Hasher::import(algorithm, exported, state.offset)) {
            Some(hasher) => hasher,
            None => hash_again(&session, algorithm)?,
        };
        // The record's hash covers other bytes than those that may replace them now.
        session.state_mut().hash_state = hasher.export();
        self.watch(session.sync_if_behind())?;
        Ok(Some(Upload { store: self.clone(), session, hasher, lineage: unique_number() }))
    }

    /// Removes a session with its bytes; `false` if there is none. An open [`Upload`] of it fails from then on.
    pub fn discard_upload(&self, id: &UploadId) -> Result<bool, StoreError> {
        let existed = self.sessions().remove(id)?;
        if existed {
            let uploads = &self.layout().uploads;
            self.watch(disk::sync_directory(uploads).map_err(StoreError::io("sync", uploads)))?;
        }
        Ok(existed)
    }

    /// All sessions. It removes leftovers of crashes: data without a readable record (interrupted creation), a record
    /// without data (published), and small content that did not reach its place. Sessions of a newer format and foreign
    /// files are not touched.
    pub fn uploads(&self) -> Result<Vec<UploadInfo>, StoreError> {
        let found = self.sessions().list(|name, path| {
            // Checked after the listing: a listed name was protected before, and is finished if it is not protected
            // now.
            if self.in_flight().contains(name) {
                return Ok(true);
            }
            if layout::is_temporary(name) { remove_leftover(path).map(|()| true) } else { Ok(false) }
        })?;
        let info =
            |(id, UploadState { owner, offset, last_activity, .. })| UploadInfo { id, owner, offset, last_activity };
        Ok(found.into_iter().map(info).collect())
    }
}

impl Upload {
    /// The session's id.
    pub fn id(&self) -> &UploadId {
        self.session.id()
    }

    /// The owner given at the creation.
    pub fn owner(&self) -> &str {
        &self.session.state().owner
    }

    /// Bytes received so far.
    pub fn offset(&self) -> u64 {
        self.session.offset()
    }

    /// True if all received bytes survive a power cut.
    pub fn is_synced(&self) -> bool {
        self.session.synced() == self.offset()
    }

    /// The algorithm of the running hash.
    pub fn algorithm(&self) -> Algorithm {
        self.hasher.algorithm()
    }

    /// Appends the next bytes: all of them, or none if it fails. Makes a sync point every 64 MiB.
    ///
    /// Errors: [`StoreError::DiskFull`] leaves the upload usable at its offset before the call. After any other error,
    /// the upload may return [`StoreError::UploadPoisoned`] from then on.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let before = self.session.is_due_after(bytes.len()).then(|| self.mark());
        self.store.watch(self.session.write(bytes))?;
        self.hasher.update(bytes);
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
        self.session.state_mut().hash_state = self.hasher.export();
        self.store.watch(self.session.sync_point())
    }

    /// A mark at the current offset.
    pub fn mark(&self) -> Mark {
        Mark { offset: self.offset(), hasher: self.hasher.clone(), lineage: self.lineage }
    }

    /// Discards all bytes after the mark.
    ///
    /// Errors: [`StoreError::StaleMark`]; other failures poison the upload.
    pub fn roll_back(&mut self, mark: Mark) -> Result<(), StoreError> {
        if !self.session.cut(mark.offset)? {
            return Ok(());
        }
        // A mark from before another rollback may refer to replaced bytes: trust the file only.
        let known = mark.lineage == self.lineage;
        let hasher = if known { Ok(mark.hasher) } else { hash_again(&self.session, self.algorithm()) };
        self.hasher = self.session.poison_on(hasher)?;
        self.lineage = unique_number();
        self.session.state_mut().hash_state = self.hasher.export();
        // Otherwise new bytes past the recorded offset would be mistaken for those of the recorded hash.
        let synced = self.store.watch(self.session.sync_if_behind());
        self.session.poison_on(synced)
    }
}

/// Hashes all bytes of a session.
pub(super) fn hash_again(session: &Session<UploadState>, algorithm: Algorithm) -> Result<Hasher, StoreError> {
    let mut hasher = Hasher::new(algorithm);
    for (path, length) in session.files() {
        let read = File::open(&path).and_then(|mut file| hash_file(&mut file, length, &mut hasher, &mut full_speed));
        let read = read.map_err(StoreError::io("read", &path))?.continue_value().unwrap_or_default();
        if read != length {
            return Err(StoreError::io("read", &path)(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(hasher)
}

fn remove_leftover(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
