//! Turning an upload into content.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::layout::Place;
use super::upload::hash_again;
use super::{CommitUploadError, ContentStore, StoreError, Upload, UploadId, disk};
use crate::digest::Digest;

/// An upload whose bytes are verified and durable. Dropping it keeps the session on disk, at its last sync point.
#[derive(Debug)]
pub struct FinishedUpload {
    store: ContentStore,
    id: UploadId,
    data: PathBuf,
    place: Place,
    digest: Digest,
    length: u64,
}

impl Upload {
    /// Ends the upload: checks its bytes against `digest`, and makes them durable. It needs no lock. If the algorithm
    /// of `digest` differs from the running hash, the file is read once more.
    ///
    /// Errors: see [`CommitUploadError`].
    pub fn finish(mut self, digest: &Digest) -> Result<FinishedUpload, CommitUploadError> {
        self.session.check_sound()?;
        let Some((algorithm, place)) = digest.algorithm().zip(self.store.layout().place(digest)) else {
            self.sync_point()?;
            return Err(CommitUploadError::UnsupportedAlgorithm { algorithm: digest.algorithm_name().to_owned() });
        };
        self.session.start_write_back();
        let length = self.offset();
        let hasher = if algorithm == self.algorithm() { self.hasher } else { hash_again(&self.session, algorithm)? };
        let computed = hasher.finish();
        if computed != *digest {
            discard(&self.store, self.session.id());
            return Err(CommitUploadError::DigestMismatch { expected: digest.clone(), computed, length });
        }
        // A crash up to here, or a failure: the session resumes from its last sync point.
        self.store.watch(self.session.sync_data())?;
        let id = self.session.id().clone();
        let data = self.store.layout().data_file(&id);
        let found = fs::metadata(&data).map_err(StoreError::io("stat", &data))?.len();
        if found != length {
            return Err(StoreError::WrongLength { path: data, expected: length, found }.into());
        }
        Ok(FinishedUpload { store: self.store, id, data, place, digest: digest.clone(), length })
    }
}

impl FinishedUpload {
    /// The digest of the upload.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Moves the bytes into the store, durably when it returns. An existing file of the digest is replaced. The caller
    /// has the digest's lock.
    ///
    /// Errors: before the file is moved, the session is kept at its last sync point. After the move, the content may be
    /// in the store unreferenced, and the session is gone.
    pub fn publish(self) -> Result<(), StoreError> {
        self.store.ready_directory(&self.place)?;
        // 1. The name. A crash before: the session as above. After: content that nobody refers to, and perhaps a record
        //    without data; both are swept.
        let file = &self.place.file;
        let moved = disk::rename(&self.data, file).map_err(StoreError::io("move into place", file));
        self.store.watch(moved)?;
        // Not earlier, because a session must stay writable. It is not essential: it guards against accidental changes.
        if let Err(error) = fs::set_permissions(file, Permissions::from_mode(disk::CONTENT_MODE)) {
            tracing::warn!(blob.digest = %self.digest, %error, "content could not be made read-only");
        }
        // 2. The name is durable. A crash after this: content that nobody refers to until the caller records it.
        self.store.sync_names(&self.place)?;
        // 3. The rest of the session.
        discard(&self.store, &self.id);
        Ok(())
    }
}

/// Removes a session that is no longer needed. A remainder that cannot be removed is no session any more, or expires
/// like one.
fn discard(store: &ContentStore, id: &UploadId) {
    if let Err(error) = store.sessions().remove(id) {
        tracing::warn!(upload.id = %id, %error, "an upload that has ended could not be removed");
    }
}
