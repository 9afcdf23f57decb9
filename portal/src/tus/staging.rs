//! The directory of one upload: its received bytes, and its state record.
//!
//! Every call blocks. At most one [`Staging`] of an upload exists at a time.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use content_store::record::replace;
use content_store::{UploadId, sync_directory};

use super::TusError;
use super::concatenation::Concatenation;
use super::record::{FORMAT, Record};
use super::segments::{self, Segments, gone};

/// Bytes between two sync points: a power cut loses at most this much.
const SYNC_STEP: u64 = 64 * 1024 * 1024;

/// All uploads below one directory.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Bytes of a segment, equal to a sector's, which never change in a data directory.
    segment: u64,
}

/// An upload open for writing. Dropping it keeps the upload at its last sync point.
#[derive(Debug)]
pub(super) struct Staging {
    root: PathBuf,
    session: PathBuf,
    segments: Segments,
    record: Record,
    /// The offset in the record on disk.
    recorded: u64,
    /// True if the session's directory is known to be durable.
    entry_durable: bool,
}

impl Directory {
    pub(super) fn new(root: &Path, segment: u64) -> Self {
        Directory { path: root.to_path_buf(), segment }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The files with an upload's bytes, each with its number of bytes.
    pub(super) fn files(&self, id: &UploadId, length: u64) -> Vec<(PathBuf, u64)> {
        segments::files(&self.session(id), self.segment, length)
    }

    fn session(&self, id: &UploadId) -> PathBuf {
        self.path.join(id.as_str())
    }

    /// Makes an upload. It survives the end of the process at once, and a power cut from its first sync point on.
    /// Before that it has no bytes that a client would miss.
    pub(super) fn create(&self, id: &UploadId, record: &Record) -> Result<(), TusError> {
        let session = self.session(id);
        DirBuilder::new().mode(0o700).create(&session).map_err(TusError::io("make", &session))?;
        let made = match record.concatenation {
            // Its bytes are in its parts.
            Concatenation::Final(_) => Ok(()),
            _ => segments::create(&session),
        };
        // A crash before this: no record, so no upload; swept by `list`.
        made.and_then(|()| replace_record(&session, record, false)).inspect_err(|_| {
            // Best effort: a remainder has no record and is swept.
            let _ = self.remove(id);
        })
    }

    /// The recorded state of an upload; `None` if there is none.
    pub(super) fn read(&self, id: &UploadId) -> Result<Option<Record>, TusError> {
        Ok(FORMAT.read(&self.session(id).join("state"), Record::decode)?.record())
    }

    /// Records the result of an upload, then removes its bytes.
    pub(super) fn finish(&self, id: &UploadId, record: &Record) -> Result<(), TusError> {
        let session = self.session(id);
        // A crash before this: the upload is complete but not finished. The next request for it finishes it again, with
        // the same skylink.
        replace_record(&session, record, true)?;
        // A crash before this: unneeded bytes, removed at the next start.
        self.drop_data(id)
    }

    /// Removes the bytes of a finished upload.
    pub(super) fn drop_data(&self, id: &UploadId) -> Result<(), TusError> {
        segments::remove_from(&self.session(id), 0)
    }

    /// Removes an upload, the record first: after a crash, the remainder is no upload.
    pub(super) fn remove(&self, id: &UploadId) -> Result<(), TusError> {
        let session = self.session(id);
        gone(fs::remove_file(session.join("state"))).map_err(TusError::io("remove", &session))?;
        gone(fs::remove_dir_all(&session)).map_err(TusError::io("remove", &session))
    }

    /// All uploads whose bytes exist. Leftovers of crashes are removed: a directory without a readable record, bytes of
    /// finished uploads, a record without its bytes. Records of a newer format and foreign files stay.
    pub(super) fn list(&self) -> Result<Vec<(UploadId, Record)>, TusError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(TusError::io("list", &self.path))? {
            let entry = entry.map_err(TusError::io("list", &self.path))?;
            let id = entry.file_name().to_str().and_then(|name| name.parse::<UploadId>().ok());
            let Some(id) = id.filter(|_| entry.path().is_dir()) else {
                tracing::warn!(path = %entry.path().display(), "a file among the uploads is not ours");
                continue;
            };
            match self.inspect(&id) {
                Ok(Some(record)) => found.push((id, record)),
                Ok(None) => self.remove(&id)?,
                // One unreadable upload must not keep the others from being resumed.
                Err(error) => tracing::error!(%error, upload.id = %id, "an upload cannot be read"),
            }
        }
        Ok(found)
    }

    fn inspect(&self, id: &UploadId) -> Result<Option<Record>, TusError> {
        let Some(mut record) = self.read(id)? else { return Ok(None) };
        if record.skylink.is_some() {
            self.drop_data(id)?;
            return Ok(Some(record));
        }
        if let Concatenation::Final(_) = record.concatenation {
            return Ok(Some(record));
        }
        let available = segments::available(&self.session(id), self.segment)?;
        Ok(available.map(|available| {
            record.offset = record.offset.min(available);
            record
        }))
    }

    /// Opens an upload for writing at its certain offset: the last sync point, or less if the data file is shorter.
    /// `None` if there is no such upload.
    pub(super) fn open(&self, id: &UploadId) -> Result<Option<Staging>, TusError> {
        let session = self.session(id);
        let Some(mut record) = self.read(id)? else { return Ok(None) };
        let Some(available) = segments::available(&session, self.segment)? else { return Ok(None) };
        let recorded = record.offset;
        record.offset = recorded.min(available);
        let segments = Segments::open(&session, self.segment, record.offset)?;
        let mut staging =
            Staging { root: self.path.clone(), session, segments, record, recorded, entry_durable: false };
        // If the record stated more bytes than exist, new bytes would be mistaken for the lost ones.
        if staging.record.offset < recorded {
            staging.sync_point()?;
        }
        Ok(Some(staging))
    }
}

impl Staging {
    /// The state of the upload, including the bytes received so far.
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// The recorded offset, which is certain.
    pub(super) fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Appends the next bytes: all of them, or none if it fails. Makes a sync point every 64 MiB.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), TusError> {
        self.segments.append(bytes)?;
        self.record.offset += bytes.len() as u64;
        if self.record.offset - self.recorded >= SYNC_STEP { self.sync_point() } else { Ok(()) }
    }

    /// Makes everything up to the offset survive a power cut. After a failure the upload must be reopened, because the
    /// state of the bytes since the last sync point is unknown.
    pub(super) fn sync_point(&mut self) -> Result<(), TusError> {
        // 1. The data. A crash after this: the old record stands, and the data is cut to what it says.
        self.segments.sync()?;
        // 2. The record and its name. A crash leaves either record, and the data of both is durable.
        self.record.last_activity = SystemTime::now();
        replace_record(&self.session, &self.record, true)?;
        if !self.entry_durable {
            sync_directory(&self.root).map_err(TusError::io("sync", &self.root))?;
            self.entry_durable = true;
        }
        self.recorded = self.record.offset;
        Ok(())
    }

    /// Discards all bytes from `offset` on.
    pub(super) fn roll_back(&mut self, offset: u64) -> Result<(), TusError> {
        self.record.offset = self.record.offset.min(offset);
        // The record first: a record with a larger offset would cover bytes other than the next ones. A crash after
        // this: the data is truncated when it is opened.
        self.sync_point()?;
        self.segments.cut(self.record.offset)
    }
}

/// Replaces the record. With `durable`, it is durable when this returns.
fn replace_record(session: &Path, record: &Record, durable: bool) -> Result<(), TusError> {
    replace(&record.encode(), &session.join("state.tmp"), &session.join("state"), durable)?;
    if durable { sync_directory(session).map_err(TusError::io("sync", session)) } else { Ok(()) }
}
