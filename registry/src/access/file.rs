//! Files of users: how they are read, and how a change is noticed.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::users::InvalidEntry;
use crate::regular_file;

/// Most bytes of a file of users.
const MAX_FILE: u64 = 4 << 20;

/// Why users cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The system's error.
    #[error("cannot use the users in {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// The file has a line that is not a user.
    #[error("{}, {fault}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, and what is wrong with it.
        fault: InvalidEntry,
    },
    /// The file is no policy.
    #[error("cannot use the policy in {}: {why}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Reads a file of users as a whole.
pub(super) fn read_file(path: &Path) -> Result<String, SourceError> {
    let at = |error| SourceError::Io { path: path.to_owned(), error };
    let mut text = String::new();
    regular_file::open(path).map_err(at)?.take(MAX_FILE + 1).read_to_string(&mut text).map_err(at)?;
    match text.len() as u64 > MAX_FILE {
        true => Err(at(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {MAX_FILE} bytes")))),
        false => Ok(text),
    }
}

/// The state of a file. It differs after each change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// `None` without such a file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Stamp {
            file: (meta.dev(), meta.ino()),
            length: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}
