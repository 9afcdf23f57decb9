//! The data directory: its format, its lock, and the paths inside it.
//!
//! ```text
//! skyberth.json   what this directory is: format version, journal id
//! lock            locked by the one process that may write here
//! admin.sock      where a running node accepts commands
//! access/         users made by `skyberth user`, and keys of tokens
//! audit/          who did what, with limits
//! journal/        the truth: all changes, in order
//! index/          a view of the journal; may be deleted while no node runs
//! blobs/          content, named by digest
//! uploads/        unfinished sessions
//! quarantine/     damaged content
//! resume/         interrupted uploads to the backend
//! endpoints.json  who the endpoints of the backend were when they were last asked
//! unit-hashes/    hashes that verify cold reads, beside roots; may be deleted while no node runs
//! gateway/        which content has which skylink; may be deleted while no node runs
//! portal/         the directory of an attached portal
//! ```
//!
//! A portal has its own directory, with the same marker and lock. The crate `portal` describes the rest of it.

mod closed;
mod empty;

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use content_store::replace_file;
use serde::{Deserialize, Serialize};

use closed::close_to_others;
use empty::is_empty;
pub(crate) use empty::{LOST_AND_FOUND, PARTS};

/// The newest layout that this program reads, and the one that it writes.
const FORMAT: u32 = 1;
const MARKER: &str = "skyberth.json";
const MARKER_IN_THE_MAKING: &str = "skyberth.json.tmp";
const LOCK: &str = "lock";

/// Why a directory cannot be used as a data directory.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It has files, but no Skyberth marker.
    #[error("{} is not empty and is not a Skyberth data directory", .0.display())]
    Foreign(PathBuf),
    /// It should be empty, since it is about to be filled.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// Another process has its lock.
    #[error("{} is in use by another skyberth process", .0.display())]
    InUse(PathBuf),
    /// It belongs to the other program: to a portal where a registry should run, or the reverse.
    #[error("{} belongs to a {found}", path.display())]
    OtherKind {
        /// The directory.
        path: PathBuf,
        /// The program that it belongs to.
        found: Kind,
    },
    /// It was made by a newer program.
    #[error("{} has format {found}; this program reads {FORMAT}", path.display())]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The marker file cannot be parsed.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// It cannot be created, read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// The program that a data directory belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `skyberth serve`.
    #[default]
    Registry,
    /// `skyberth portal`.
    Portal,
}

impl Kind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_registry(&self) -> bool {
        *self == Kind::Registry
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Registry => "registry",
            Kind::Portal => "portal",
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: u32,
    #[serde(default, skip_serializing_if = "Kind::is_registry")]
    kind: Kind,
    /// Absent until the journal has been created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    journal: Option<String>,
}

impl Marker {
    fn check_kind(&self, path: &Path, kind: Kind) -> Result<(), DataDirError> {
        if self.kind == kind {
            return Ok(());
        }
        Err(DataDirError::OtherKind { path: path.to_owned(), found: self.kind })
    }
}

/// A data directory locked for this process. Others can share it only if all of them only read.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    marker: Marker,
    /// Closing the file ends the lock. `None` for a copy without a lock file, or with one that we may not open.
    _lock: Option<File>,
}

impl DataDir {
    /// Locks a directory for a node; creates it if it does not exist, and its marker if it is empty.
    pub fn open(path: &Path, kind: Kind) -> Result<Self, DataDirError> {
        let at = |source| DataDirError::Io { path: path.to_owned(), source };
        make_durable(path).map_err(at)?;
        if !DataDir::is_ours_or_empty(path)? {
            return Err(DataDirError::Foreign(path.to_owned()));
        }
        close_to_others(path).map_err(at)?;
        let lock = lock(path)?;
        if !path.join(MARKER).exists() {
            // The marker comes first, so that after a crash the directory does not look foreign.
            write_marker(path, &Marker { format: FORMAT, kind, journal: None })?;
        }
        let marker = read_marker(path)?;
        marker.check_kind(path, kind)?;
        Ok(DataDir { path: path.to_owned(), marker, _lock: Some(lock) })
    }

    /// Locks a directory for reading, shared with other readers. No node can start on it meanwhile. Changes nothing.
    ///
    /// Errors: [`DataDirError::InUse`] while a node runs on it.
    pub fn open_to_read(path: &Path, kind: Kind) -> Result<Self, DataDirError> {
        let lock = lock_to_read(path)?;
        let marker = read_marker(path)?;
        marker.check_kind(path, kind)?;
        Ok(DataDir { path: path.to_owned(), marker, _lock: lock })
    }

    /// Releases the lock but keeps the directory: from here on a node may start on it.
    #[must_use]
    pub fn unlocked(self) -> Self {
        DataDir { _lock: None, ..self }
    }

    /// True if a node may be opened on this existing directory; changes nothing.
    pub fn is_ours_or_empty(path: &Path) -> Result<bool, DataDirError> {
        let at = |source| DataDirError::Io { path: path.to_owned(), source };
        Ok(is_empty(path).map_err(at)? || path.join(MARKER).exists())
    }

    /// The id of the journal in a directory, if it has one. Takes no lock and changes nothing.
    pub fn journal_in(path: &Path) -> Result<Option<String>, DataDirError> {
        Ok(read_marker(path)?.journal)
    }

    /// True if the directory has a marker; changes nothing.
    ///
    /// Errors: [`DataDirError::Io`] if that cannot be told, such as in another user's directory.
    pub fn exists(path: &Path) -> Result<bool, DataDirError> {
        let marker = path.join(MARKER);
        marker.try_exists().map_err(|source| DataDirError::Io { path: marker.clone(), source })
    }

    /// The id of this directory's journal, once it has been created.
    pub fn journal_id(&self) -> Option<&str> {
        self.marker.journal.as_deref()
    }

    /// Writes the id of the new journal into the marker.
    pub fn set_journal_id(&mut self, id: String) -> Result<(), DataDirError> {
        self.marker.journal = Some(id);
        write_marker(&self.path, &self.marker)
    }

    /// Path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Directory of the journal.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Directory of interrupted uploads to the backend.
    pub fn resume(&self) -> PathBuf {
        self.path.join("resume")
    }

    /// Directory of unit hashes.
    pub fn unit_hashes(&self) -> PathBuf {
        self.path.join("unit-hashes")
    }

    /// Directory of the gateway's index of skylinks.
    pub fn gateway(&self) -> PathBuf {
        self.path.join("gateway")
    }

    /// Directory of users.
    pub fn access(&self) -> PathBuf {
        access(&self.path)
    }

    /// Directory of the index.
    pub fn index(&self) -> PathBuf {
        self.path.join("index")
    }
}

/// A directory reserved for a node that is published later. Until then no node starts on it, once it has files.
#[derive(Debug)]
pub struct NewDataDir {
    path: PathBuf,
    _lock: File,
}

impl NewDataDir {
    /// Locks an empty directory; creates it if it does not exist.
    ///
    /// Errors: [`DataDirError::NotEmpty`], [`DataDirError::InUse`].
    pub fn reserve(path: &Path) -> Result<Self, DataDirError> {
        let at = |source| DataDirError::Io { path: path.to_owned(), source };
        make_durable(path).map_err(at)?;
        let is_empty =
            || -> Result<bool, DataDirError> { Ok(DataDir::is_ours_or_empty(path)? && !DataDir::exists(path)?) };
        // Checked twice. Before locking: a foreign directory gets no lock file. After locking: no node started in
        // between.
        if !is_empty()? {
            return Err(DataDirError::NotEmpty(path.to_owned()));
        }
        close_to_others(path).map_err(at)?;
        let lock = lock(path)?;
        if !is_empty()? {
            return Err(DataDirError::NotEmpty(path.to_owned()));
        }
        Ok(NewDataDir { path: path.to_owned(), _lock: lock })
    }

    /// Writes the marker, which makes this the data directory of a node with this journal.
    pub fn publish(self, kind: Kind, journal: String) -> Result<(), DataDirError> {
        write_marker(&self.path, &Marker { format: FORMAT, kind, journal: Some(journal) })
    }
}

/// File with the names of the endpoints that keep copies of the node on this data directory.
pub fn endpoints(path: &Path) -> PathBuf {
    path.join("endpoints.json")
}

/// Directory of the portal that is attached to the node on this data directory.
pub fn attached_portal(path: &Path) -> PathBuf {
    path.join("portal")
}

/// Directory of the users of the node on this data directory.
pub fn access(path: &Path) -> PathBuf {
    path.join("access")
}

/// Directory of the audit journal of the node on this data directory.
pub fn audit(path: &Path) -> PathBuf {
    path.join("audit")
}

/// Socket where the node on this data directory accepts commands.
pub fn socket(path: &Path) -> PathBuf {
    path.join("admin.sock")
}

/// Creates a directory and its missing parents. Each is synced into its parent, so that a power cut cannot lose them.
fn make_durable(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_durable(parent)?;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

/// How long a start waits for the lock: a command that checks whether a node runs takes it for a moment.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

fn lock(path: &Path) -> Result<File, DataDirError> {
    let at = |source| DataDirError::Io { path: path.join(LOCK), source };
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(path.join(LOCK)).map_err(at)?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_PATIENCE / 50),
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(at(error)),
        }
    }
}

/// Takes the lock for reading. `None` without a lock file that we may open, as in a copy or with another owner.
fn lock_to_read(path: &Path) -> Result<Option<File>, DataDirError> {
    let at = |source| DataDirError::Io { path: path.join(LOCK), source };
    let file = match File::open(path.join(LOCK)) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Ok(None);
        }
        Err(error) => return Err(at(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(at(error)),
    }
}

fn read_marker(path: &Path) -> Result<Marker, DataDirError> {
    let file = path.join(MARKER);
    let text = fs::read(&file).map_err(|source| DataDirError::Io { path: file.clone(), source })?;
    let marker: Marker =
        serde_json::from_slice(&text).map_err(|error| DataDirError::Damaged { path: file, why: error.to_string() })?;
    if marker.format > FORMAT {
        return Err(DataDirError::Newer { path: path.to_owned(), found: marker.format });
    }
    Ok(marker)
}

/// Writes and syncs a temporary file, then renames it: a crash leaves the old marker or the new one.
fn write_marker(path: &Path, marker: &Marker) -> Result<(), DataDirError> {
    let target = path.join(MARKER);
    let at = |source| DataDirError::Io { path: target.clone(), source };
    let text = serde_json::to_vec(marker).map_err(|error| at(error.into()))?;
    replace_file(&[&text], &path.join(MARKER_IN_THE_MAKING), &target).map_err(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataDir::open(&path, Kind::Registry).unwrap();
        assert!(matches!(DataDir::open(&path, Kind::Registry), Err(DataDirError::InUse(_))));
        drop(first);
        assert!(DataDir::open(&path, Kind::Registry).is_ok());
    }

    #[test]
    fn readers_share_a_directory_and_a_node_has_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let node = DataDir::open(folder.path(), Kind::Registry).unwrap();
        let read = || DataDir::open_to_read(folder.path(), Kind::Registry);
        assert!(matches!(read(), Err(DataDirError::InUse(_))));
        drop(node);
        let readers = [read().unwrap(), read().unwrap()];
        assert!(matches!(DataDir::open(folder.path(), Kind::Registry), Err(DataDirError::InUse(_))));
        drop(readers);
        fs::remove_file(folder.path().join(LOCK)).unwrap();
        assert!(read().is_ok());
        assert!(!folder.path().join(LOCK).exists());
    }

    #[test]
    fn what_is_being_filled_is_no_node_until_it_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let target = NewDataDir::reserve(folder.path()).unwrap();
        assert!(matches!(DataDir::open(folder.path(), Kind::Registry), Err(DataDirError::InUse(_))));
        fs::create_dir(folder.path().join("journal")).unwrap();
        fs::write(folder.path().join("journal/segment"), "").unwrap();
        drop(target);
        assert!(matches!(DataDir::open(folder.path(), Kind::Registry), Err(DataDirError::Foreign(_))));
        assert!(matches!(NewDataDir::reserve(folder.path()), Err(DataDirError::NotEmpty(_))));
        fs::remove_dir_all(folder.path().join("journal")).unwrap();
        NewDataDir::reserve(folder.path()).unwrap().publish(Kind::Registry, "ab".into()).unwrap();
        assert_eq!(DataDir::open(folder.path(), Kind::Registry).unwrap().journal_id(), Some("ab"));
        assert!(matches!(NewDataDir::reserve(folder.path()), Err(DataDirError::NotEmpty(_))));
    }

    #[test]
    fn a_portals_directory_is_no_registrys() {
        let folder = tempfile::tempdir().unwrap();
        drop(DataDir::open(folder.path(), Kind::Portal).unwrap());
        let refused = DataDir::open(folder.path(), Kind::Registry);
        assert!(matches!(refused, Err(DataDirError::OtherKind { found: Kind::Portal, .. })));
        assert!(DataDir::open(folder.path(), Kind::Portal).is_ok());
    }

    #[test]
    fn a_foreign_directory_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "x").unwrap();
        assert!(matches!(DataDir::open(folder.path(), Kind::Registry), Err(DataDirError::Foreign(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// Another user's directory was called no data directory. Root can see those, but nobody can look below a file.
    #[test]
    fn a_directory_that_cannot_be_looked_at_is_not_called_foreign() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(DataDir::exists(&file), Err(DataDirError::Io { .. })));
        assert!(matches!(DataDir::exists(&folder.path().join("absent")), Ok(false)));
    }

    #[test]
    fn the_journal_id_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let mut data = DataDir::open(folder.path(), Kind::Registry).unwrap();
        assert_eq!(data.journal_id(), None);
        data.set_journal_id("ab".into()).unwrap();
        drop(data);
        assert_eq!(DataDir::open(folder.path(), Kind::Registry).unwrap().journal_id(), Some("ab"));
    }

    #[test]
    fn a_node_that_was_killed_while_it_was_made_starts_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MARKER_IN_THE_MAKING), "{").unwrap();
        fs::write(folder.path().join(LOCK), "").unwrap();
        assert!(DataDir::open(folder.path(), Kind::Registry).is_ok());
    }

    #[test]
    fn a_newer_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MARKER), r#"{"format":2}"#).unwrap();
        assert!(matches!(DataDir::open(folder.path(), Kind::Registry), Err(DataDirError::Newer { found: 2, .. })));
    }
}
