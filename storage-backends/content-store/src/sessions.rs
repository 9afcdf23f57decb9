//! Making, reopening, listing and discarding upload sessions.

use std::fs::{self, DirEntry, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use super::upload::{SyncState, Upload, hash_again};
use super::upload_state::{OWNER_LIMIT, UploadState};
use super::{ContentStore, StoreError, UploadId, content, layout, unique_number};
use crate::digest::Algorithm;
use crate::hasher::Hasher;

/// A session as found on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// The session's id.
    pub id: UploadId,
    /// The owner given at its creation.
    pub owner: String,
    /// The offset in bytes at which it would resume now.
    pub offset: u64,
    /// When it was made.
    pub started: SystemTime,
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
        let session = self.layout().upload(id);
        // Until the record exists, the session looks like the leftover of a crash.
        let _guard = self.protect(id.to_string());
        self.watch(fs::create_dir(&session).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => StoreError::UploadExists(id.clone()),
            _ => StoreError::io("make", &session)(source),
        }))?;
        let made = content::create_staging(&layout::data_file(&session)).and_then(|file| {
            let mut upload = Upload {
                store: self.clone(),
                id: id.clone(),
                owner: owner.to_owned(),
                started: SystemTime::now(),
                session: session.clone(),
                file,
                hasher: Hasher::new(algorithm.unwrap_or(Algorithm::Sha256)),
                offset: 0,
                sync: SyncState { completed: None, recorded: 0, written_back: 0, entry_durable: false },
                lineage: unique_number(),
                poisoned: false,
            };
            // A crash before this: no record, so no session; swept by `uploads`.
            upload.write_record(false)?;
            Ok(upload)
        });
        self.watch(made).inspect_err(|_| {
            // Best effort: a remainder has no record and is swept.
            let _ = UploadState::remove_session(&session);
        })
    }

    /// Opens a session at its certain offset: the last sync point, or less if the data file is shorter. `None` if there
    /// is no such session. No other [`Upload`] of it may exist.
    ///
    /// Errors: [`StoreError::NewerFormat`].
    pub fn open_upload(&self, id: &UploadId) -> Result<Option<Upload>, StoreError> {
        let session = self.layout().upload(id);
        let Some((state, mut file, length)) = read_session(&session)? else { return Ok(None) };
        let data = layout::data_file(&session);
        let offset = length.min(state.offset);
        let imported = state.hash_state.as_deref().filter(|_| offset == state.offset);
        let hasher = match imported.and_then(|exported| Hasher::import(state.algorithm, exported)) {
            Some(hasher) => hasher,
            None => hash_again(&mut file, state.algorithm, offset).map_err(StoreError::io("read", &data))?,
        };
        if length > offset {
            file.set_len(offset).map_err(StoreError::io("cut", &data))?;
        }
        let mut upload = Upload {
            store: self.clone(),
            id: id.clone(),
            owner: state.owner,
            started: state.started,
            session,
            file,
            hasher,
            offset,
            sync: SyncState { completed: None, recorded: state.offset, written_back: offset, entry_durable: false },
            lineage: unique_number(),
            poisoned: false,
        };
        // The record's hash covers other bytes than those that may replace them now.
        if offset < state.offset {
            upload.sync_point()?;
        }
        Ok(Some(upload))
    }

    /// Removes a session with its bytes; `false` if there is none. An open [`Upload`] of it fails from then on.
    pub fn discard_upload(&self, id: &UploadId) -> Result<bool, StoreError> {
        let existed = UploadState::remove_session(&self.layout().upload(id))?;
        if existed {
            let uploads = &self.layout().uploads;
            self.watch(super::disk::sync_directory(uploads).map_err(StoreError::io("sync", uploads)))?;
        }
        Ok(existed)
    }

    /// All sessions. It removes leftovers of crashes: data without a readable record (interrupted creation), a record
    /// without data (published), and small content that did not reach its place. Sessions of a newer format and foreign
    /// files are not touched.
    pub fn uploads(&self) -> Result<Vec<UploadInfo>, StoreError> {
        let uploads = &self.layout().uploads;
        let mut found = Vec::new();
        for entry in fs::read_dir(uploads).map_err(StoreError::io("list", uploads))? {
            let entry = entry.map_err(StoreError::io("list", uploads))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Checked after the listing: a listed name was protected before, and is finished if it is not protected
            // now.
            if self.in_flight().contains(&name) {
                continue;
            }
            match name.parse::<UploadId>() {
                Ok(id) if entry.path().is_dir() => match inspect_session(id, &entry) {
                    // One unreadable session must not keep the others from being resumed.
                    Err(error @ StoreError::Io { .. }) => tracing::error!(%error, "an upload session cannot be read"),
                    session => found.extend(session?),
                },
                _ if layout::is_temporary(&name) => remove_leftover(&entry.path())?,
                _ => tracing::warn!(path = %entry.path().display(), "a file in uploads is not ours"),
            }
        }
        Ok(found)
    }
}

/// The record, the data file and its length; `None` if they do not make a session.
fn read_session(session: &Path) -> Result<Option<(UploadState, File, u64)>, StoreError> {
    let Some(state) = UploadState::read(session)? else { return Ok(None) };
    let data = layout::data_file(session);
    let file = match OpenOptions::new().read(true).write(true).open(&data) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open", &data)(error)),
    };
    let metadata = file.metadata().map_err(StoreError::io("stat", &data))?;
    // A second name would belong to published content, which must never be written to. File systems that rename
    // atomically leave no second name.
    if metadata.nlink() > 1 {
        return Ok(None);
    }
    Ok(Some((state, file, metadata.len())))
}

/// The description of a session. `None` if it was a leftover, which is removed, or is not understood.
fn inspect_session(id: UploadId, entry: &DirEntry) -> Result<Option<UploadInfo>, StoreError> {
    let session = entry.path();
    match read_session(&session) {
        Ok(Some((state, file, length))) => {
            let written =
                file.metadata().and_then(|metadata| metadata.modified()).map_err(StoreError::io("stat", &session))?;
            let last_activity = state.last_activity.max(written);
            Ok(Some(UploadInfo {
                id,
                owner: state.owner,
                offset: length.min(state.offset),
                started: state.started,
                last_activity,
            }))
        }
        Ok(None) => {
            tracing::info!(upload.id = %id, "removing what a crash left of an upload");
            UploadState::remove_session(&session).map(|_| None)
        }
        Err(error @ StoreError::NewerFormat { .. }) => {
            tracing::warn!(upload.id = %id, %error, "leaving an upload alone");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn remove_leftover(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
