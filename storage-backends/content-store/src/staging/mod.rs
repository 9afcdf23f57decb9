//! Sessions: bytes that arrive over several requests, and survive the end of the process between them.
//!
//! A session is a directory, named by its id, with the bytes in files and a checksummed record of its state. [`Sessions`]
//! makes, opens, lists and removes the sessions below one directory; a [`Session`] takes bytes. Both are generic over
//! the state that the record holds.
//!
//! Every call blocks. Callers keep at most one [`Session`] of an id.

mod segments;
mod session;

use std::fs::{self, DirBuilder};
use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::record::{Format, Undecodable, replace};
use super::room::{OVERHEAD, Room};
use super::{StoreError, UploadId, disk};
use segments::Segments;

pub use segments::ONE_FILE;
pub use session::{SYNC_STEP, Session};

/// The state of a session, as its record on the disk has it.
pub trait SessionState: Sized {
    /// The kind of record.
    const FORMAT: Format;

    /// The record of this state.
    fn encode(&self) -> Vec<u8>;

    /// The state in a record.
    fn decode(record: &[u8]) -> Result<Self, Undecodable>;

    /// The number of the session's bytes that were durable before the record was written.
    fn offset(&self) -> u64;

    /// The time of the last bytes.
    fn last_activity(&self) -> SystemTime;

    /// Sets the offset and the time of the last bytes.
    fn reach(&mut self, offset: u64, last_activity: SystemTime);

    /// False if a session in this state has no files of bytes.
    fn has_bytes(&self) -> bool {
        true
    }
}

/// The sessions below one directory.
#[derive(Clone, Debug)]
pub struct Sessions<R> {
    place: Arc<Place>,
    state: PhantomData<fn() -> R>,
}

/// The place of sessions, and what they may use of it.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    segment: u64,
    room: Room,
}

impl Place {
    fn session(&self, id: &UploadId) -> PathBuf {
        self.path.join(id.as_str())
    }

    /// Names the directory in a failure to get room.
    fn granted<T>(&self, room: io::Result<T>) -> Result<T, StoreError> {
        room.map_err(StoreError::io("keep the reserve of", &self.path))
    }
}

impl<R: SessionState> Sessions<R> {
    /// The sessions below an existing directory. Their bytes are in files of `segment` bytes, a number that must not
    /// change, or in [`ONE_FILE`]. Sessions leave `reserve` bytes of the file system free.
    pub fn new(path: &Path, segment: u64, reserve: u64) -> Self {
        let room = Room::new(path, reserve);
        Sessions { place: Arc::new(Place { path: path.to_path_buf(), segment, room }), state: PhantomData }
    }

    /// Checks that there is room for this number of bytes now, and reserves nothing.
    ///
    /// Errors: [`StoreError::DiskFull`].
    pub fn check_room(&self, bytes: u64) -> Result<(), StoreError> {
        self.place.granted(self.place.room.check(bytes))
    }

    /// The room that sessions reserve from.
    pub(crate) fn room(&self) -> &Room {
        &self.place.room
    }

    /// The files with the first `length` bytes of a session, each with its number of bytes.
    pub fn files(&self, id: &UploadId, length: u64) -> Vec<(PathBuf, u64)> {
        segments::files(&self.place.session(id), self.place.segment, length)
    }

    /// Makes a session. It survives the end of the process at once, and a power cut from its first sync point on.
    /// Before that it has no bytes that a client would miss.
    ///
    /// Errors: [`StoreError::UploadExists`], [`StoreError::DiskFull`].
    pub fn create(&self, id: &UploadId, state: R) -> Result<Session<R>, StoreError> {
        let _room = self.place.granted(self.place.room.reserve(OVERHEAD))?;
        let path = self.place.session(id);
        DirBuilder::new().mode(disk::DIRECTORY_MODE).create(&path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => StoreError::UploadExists(id.clone()),
            _ => StoreError::io("make", &path)(source),
        })?;
        let made = Segments::create(&path, self.place.segment, state.has_bytes()).and_then(|files| {
            // A crash before this: no record, so no session; swept by `list`.
            write_record(&path, &state, false)?;
            Ok(files)
        });
        let files = made.inspect_err(|_| {
            // Best effort: a remainder has no record and is swept.
            let _ = self.remove(id);
        })?;
        Ok(Session::new(&self.place, id, state, files))
    }

    /// The recorded state of a session; `None` if there is none.
    ///
    /// Errors: [`StoreError::NewerFormat`], and failed reads. Neither means that the session is useless.
    pub fn read(&self, id: &UploadId) -> Result<Option<R>, StoreError> {
        Ok(R::FORMAT.read(&self.place.session(id).join("state"), R::decode)?.record())
    }

    /// Opens a session at its certain offset: the last sync point, or less if there are fewer bytes. `None` if there is
    /// no such session.
    ///
    /// Errors: [`StoreError::NewerFormat`].
    pub fn open(&self, id: &UploadId) -> Result<Option<Session<R>>, StoreError> {
        let (path, segment) = (self.place.session(id), self.place.segment);
        let Some(state) = self.read(id)? else { return Ok(None) };
        let Some((available, _)) = segments::available(&path, segment)? else { return Ok(None) };
        let files = Segments::open(&path, segment, available.min(state.offset()))?;
        Ok(Some(Session::new(&self.place, id, state, files)))
    }

    /// Records a state that needs no bytes, durably, then removes the bytes.
    pub fn end(&self, id: &UploadId, state: &R) -> Result<(), StoreError> {
        let path = self.place.session(id);
        // A crash before this: the state and the bytes as they were.
        write_record(&path, state, true)?;
        disk::sync_directory(&path).map_err(StoreError::io("sync", &path))?;
        // A crash before this: unneeded bytes, removed by `list`.
        segments::remove_from(&path, 0)
    }

    /// Removes a session with its bytes; `false` if there is none. An open [`Session`] of it fails from then on.
    pub fn remove(&self, id: &UploadId) -> Result<bool, StoreError> {
        let path = self.place.session(id);
        // The record first: after a crash, the remainder is no session.
        let had_state = gone(fs::remove_file(path.join("state"))).map_err(StoreError::io("remove", &path))?;
        let had_directory = gone(fs::remove_dir_all(&path)).map_err(StoreError::io("remove", &path))?;
        Ok(had_state || had_directory)
    }

    /// All sessions, each with its state as [`open`](Sessions::open) finds it. It removes leftovers of crashes: bytes
    /// without a readable record (interrupted creation), a record without its bytes, unneeded bytes. Sessions of a newer
    /// format and foreign files stay, except those that `taken` deals with and answers with true.
    pub fn list(
        &self,
        mut taken: impl FnMut(&str, &Path) -> Result<bool, StoreError>,
    ) -> Result<Vec<(UploadId, R)>, StoreError> {
        let root = &self.place.path;
        let mut found = Vec::new();
        for entry in fs::read_dir(root).map_err(StoreError::io("list", root))? {
            let path = entry.map_err(StoreError::io("list", root))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if taken(name, &path)? {
                continue;
            }
            match name.parse::<UploadId>() {
                Ok(id) if path.is_dir() => match self.inspect(&id) {
                    Ok(state) => found.extend(state.map(|state| (id, state))),
                    // One unreadable session must not keep the others from being resumed.
                    Err(error) => tracing::error!(upload.id = %id, %error, "an upload cannot be read"),
                },
                _ => tracing::warn!(path = %path.display(), "a file among the uploads is not ours"),
            }
        }
        Ok(found)
    }

    fn inspect(&self, id: &UploadId) -> Result<Option<R>, StoreError> {
        let path = self.place.session(id);
        if let Some(mut state) = self.read(id)? {
            if !state.has_bytes() {
                segments::remove_from(&path, 0)?;
                return Ok(Some(state));
            }
            if let Some((available, written)) = segments::available(&path, self.place.segment)? {
                state.reach(available.min(state.offset()), state.last_activity().max(written));
                return Ok(Some(state));
            }
        }
        tracing::info!(upload.id = %id, "removing what a crash left of an upload");
        self.remove(id)?;
        Ok(None)
    }
}

/// Replaces the record in a session's directory. `durable` syncs the record, not the directory.
fn write_record<R: SessionState>(session: &Path, state: &R, durable: bool) -> Result<(), StoreError> {
    Ok(replace(&state.encode(), &session.join("state.tmp"), &session.join("state"), durable)?)
}

/// Whether something was removed.
fn gone(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
