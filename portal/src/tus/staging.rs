//! The directory of one upload: its bytes as they come, and its state record.
//!
//! Everything here blocks. One [`Staging`] of an upload exists at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use storage_backends::fs::record::replace;
use storage_backends::fs::{UploadId, start_write_back, sync_data, sync_directory};

use super::TusError;
use super::concatenation::Concatenation;
use super::record::{FORMAT, Record};

/// Write-back is started each time so many bytes have come, so that a sync finds little left to do.
const WRITE_BACK_STEP: u64 = 8 * 1024 * 1024;
/// A sync point is made each time so many bytes have come: the most that a power cut takes back.
const SYNC_STEP: u64 = 64 * 1024 * 1024;

/// All uploads below one directory.
#[derive(Clone, Debug)]
pub(super) struct Directory(PathBuf);

/// An upload that is open for writing. Dropping it keeps the upload at its last sync point.
#[derive(Debug)]
pub(super) struct Staging {
    root: PathBuf,
    session: PathBuf,
    file: File,
    record: Record,
    /// The offset that the record on disk states.
    recorded: u64,
    written_back: u64,
    /// Whether the session's directory is known to be durable.
    entry_durable: bool,
}

impl Directory {
    pub(super) fn new(root: &Path) -> Self {
        Directory(root.to_path_buf())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The file with an upload's bytes.
    pub(super) fn data(&self, id: &UploadId) -> PathBuf {
        self.session(id).join("data")
    }

    fn session(&self, id: &UploadId) -> PathBuf {
        self.0.join(id.as_str())
    }

    /// Makes an upload. It survives the end of the process at once, and a power cut from its first sync point on: before
    /// that there is nothing in it that a client would miss.
    pub(super) fn create(&self, id: &UploadId, record: &Record) -> Result<(), TusError> {
        let session = self.session(id);
        DirBuilder::new().mode(0o700).create(&session).map_err(TusError::io("make", &session))?;
        let made = match record.concatenation {
            // Its bytes are those of its parts.
            Concatenation::Final(_) => Ok(()),
            _ => create_file(&self.data(id)).map(drop),
        };
        // A crash before this: no record, so no upload; swept by `list`.
        made.and_then(|()| replace_record(&session, record, false)).inspect_err(|_| {
            // Best effort: what stays has no record and is swept.
            let _ = self.remove(id);
        })
    }

    /// What is known of an upload; `None` if there is none.
    pub(super) fn read(&self, id: &UploadId) -> Result<Option<Record>, TusError> {
        Ok(FORMAT.read(&self.session(id).join("state"), Record::decode)?.record())
    }

    /// Writes down what an upload became, then drops its bytes.
    pub(super) fn finish(&self, id: &UploadId, record: &Record) -> Result<(), TusError> {
        let session = self.session(id);
        // A crash before this: the upload is complete and not finished; whoever asks for it next finishes it again, to
        // the same skylink.
        replace_record(&session, record, true)?;
        // A crash before this: bytes that nobody needs, dropped at the next start.
        self.drop_data(id)
    }

    /// Drops the bytes of a finished upload.
    pub(super) fn drop_data(&self, id: &UploadId) -> Result<(), TusError> {
        let data = self.data(id);
        gone(fs::remove_file(&data)).map_err(TusError::io("remove", &data))
    }

    /// Removes an upload, the record first: whatever a crash leaves of it is no upload then.
    pub(super) fn remove(&self, id: &UploadId) -> Result<(), TusError> {
        let session = self.session(id);
        gone(fs::remove_file(session.join("state"))).map_err(TusError::io("remove", &session))?;
        gone(fs::remove_dir_all(&session)).map_err(TusError::io("remove", &session))
    }

    /// All uploads, as far as their bytes are there. Leftovers of crashes go: a directory without a readable record, bytes
    /// of what is finished, a record whose bytes are gone. Records of a newer format and files that are not ours stay.
    pub(super) fn list(&self) -> Result<Vec<(UploadId, Record)>, TusError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(TusError::io("list", &self.0))? {
            let entry = entry.map_err(TusError::io("list", &self.0))?;
            let id = entry.file_name().to_str().and_then(|name| name.parse::<UploadId>().ok());
            let Some(id) = id.filter(|_| entry.path().is_dir()) else {
                tracing::warn!(path = %entry.path().display(), "a file among the uploads is not ours");
                continue;
            };
            match self.inspect(&id) {
                Ok(Some(record)) => found.push((id, record)),
                Ok(None) => self.remove(&id)?,
                // One that the disk does not give must not keep the others from being taken up.
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
        let data = self.data(id);
        match fs::metadata(&data) {
            Ok(metadata) => {
                record.offset = record.offset.min(metadata.len());
                Ok(Some(record))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TusError::io("stat", &data)(error)),
        }
    }

    /// Opens an upload that takes bytes, at the offset that is certain: the last sync point, or less if the data file is
    /// shorter. `None` if there is no such upload.
    pub(super) fn open(&self, id: &UploadId) -> Result<Option<Staging>, TusError> {
        let session = self.session(id);
        let Some(mut record) = self.read(id)? else { return Ok(None) };
        let data = self.data(id);
        let file = match OpenOptions::new().write(true).open(&data) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TusError::io("open", &data)(error)),
        };
        let length = file.metadata().map_err(TusError::io("stat", &data))?.len();
        let recorded = record.offset;
        record.offset = recorded.min(length);
        if length > record.offset {
            file.set_len(record.offset).map_err(TusError::io("cut", &data))?;
        }
        let (root, written_back) = (self.0.clone(), record.offset);
        let mut staging = Staging { root, session, file, record, recorded, written_back, entry_durable: false };
        // A record that states more than there is would make lost bytes out of those that come now.
        if staging.record.offset < recorded {
            staging.sync_point()?;
        }
        Ok(Some(staging))
    }
}

impl Staging {
    /// What is known of the upload, with the bytes taken so far.
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// The offset that is certain.
    pub(super) fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Takes the next bytes: all of them, or none if it fails. Makes a sync point every 64 MiB.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), TusError> {
        let data = self.session.join("data");
        if let Err(error) = self.file.write_all_at(bytes, self.record.offset) {
            // The part that was written goes, or else the next sync point may not state more than the last one.
            self.file.set_len(self.record.offset).map_err(TusError::io("cut", &data))?;
            return Err(TusError::io("write", &data)(error));
        }
        self.record.offset += bytes.len() as u64;
        if self.record.offset - self.written_back >= WRITE_BACK_STEP {
            start_write_back(&self.file, self.written_back, self.record.offset - self.written_back);
            self.written_back = self.record.offset;
        }
        if self.record.offset - self.recorded >= SYNC_STEP { self.sync_point() } else { Ok(()) }
    }

    /// Makes everything up to the offset survive a power cut. After a failure the upload must be opened again: what the
    /// disk did with the bytes since the last sync point is not known.
    pub(super) fn sync_point(&mut self) -> Result<(), TusError> {
        let data = self.session.join("data");
        // 1. The data. A crash after this: the old record stands, and the data file is cut to what it says.
        sync_data(&self.file).map_err(TusError::io("sync", &data))?;
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

    /// Forgets everything from `offset` on.
    pub(super) fn roll_back(&mut self, offset: u64) -> Result<(), TusError> {
        let data = self.session.join("data");
        self.record.offset = self.record.offset.min(offset);
        // The record first: one that states more than there is would be of other bytes than those that come next.
        // A crash after this: the data file is cut when it is opened.
        self.sync_point()?;
        self.written_back = self.written_back.min(offset);
        self.file.set_len(self.record.offset).map_err(TusError::io("cut", &data))
    }
}

/// Puts a record into its place; `durable`: when this returns, it stays there.
fn replace_record(session: &Path, record: &Record, durable: bool) -> Result<(), TusError> {
    replace(&record.encode(), &session.join("state.tmp"), &session.join("state"), durable)?;
    if durable { sync_directory(session).map_err(TusError::io("sync", session)) } else { Ok(()) }
}

fn create_file(path: &Path) -> Result<File, TusError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map_err(TusError::io("create", path))
}

/// That nothing was there to remove is no failure.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
