//! Small checksummed records, one to a file, replaced atomically (`docs/on-disk-format.md`, "Records").

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::disk;
use crate::checksum::{CHECKSUM_LENGTH, checksum};

/// Bytes before the fields: magic, version, marks, length.
const HEADER: usize = 16;

/// A kind of record.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    magic: [u8; 8],
    version: u16,
    /// Longest record, bytes.
    limit: usize,
}

/// Reasons why bytes are not a valid record of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// Torn, damaged, or something else.
    Garbage,
    /// Whole, and of a later format version.
    Newer(u16),
}

/// The result of reading a record's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// No file.
    Nothing,
    /// A file that is not a record.
    Garbage,
    /// A record.
    Record(T),
}

/// Errors of records. None of them means that a record is absent.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// An error of the system.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The failed action.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A newer version of this program wrote it. It is not touched.
    #[error("{} has format version {version}, which is newer than this program", path.display())]
    NewerFormat {
        /// The record.
        path: PathBuf,
        /// The record's format version.
        version: u16,
    },
}

impl RecordError {
    /// Wraps an error of the system; made for `map_err`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordError {
        let path = path.to_path_buf();
        move |source| RecordError::Io { action, path, source }
    }

    /// True if it failed for lack of space.
    pub fn is_disk_full(&self) -> bool {
        // ENOSPC and EDQUOT.
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, RecordError::Io { source, .. } if full.contains(&source.kind()))
    }
}

impl<T> Found<T> {
    /// The record, if it is one.
    pub fn record(self) -> Option<T> {
        match self {
            Found::Record(record) => Some(record),
            Found::Nothing | Found::Garbage => None,
        }
    }
}

impl Format {
    /// The kind of records that begin with `magic`, in format `version`, with at most `fields` bytes of fields.
    pub const fn new(magic: [u8; 8], version: u16, fields: usize) -> Self {
        Format { magic, version, limit: HEADER + fields + CHECKSUM_LENGTH }
    }

    /// A record of two marks and the concatenated fields.
    pub fn encode(&self, marks: [u8; 2], fields: &[&[u8]]) -> Vec<u8> {
        let fields = fields.concat();
        let length = HEADER + fields.len() + CHECKSUM_LENGTH;
        debug_assert!(length <= self.limit, "a record of {length} bytes could not be read again");
        let (version, length_field) = (self.version.to_le_bytes(), (length as u32).to_le_bytes());
        let mut record = [&self.magic[..], &version, &marks, &length_field, &fields].concat();
        let sum = checksum(&record);
        record.extend_from_slice(&sum);
        record
    }

    /// The result of `fields` on a whole record's marks and fields. If it returns nothing, or leaves bytes unread, the
    /// record is garbage.
    pub fn decode<T>(
        &self,
        record: &[u8],
        fields: impl FnOnce([u8; 2], &mut Fields<'_>) -> Option<T>,
    ) -> Result<T, Undecodable> {
        let (body, sum) = record.split_last_chunk::<CHECKSUM_LENGTH>().ok_or(Undecodable::Garbage)?;
        if record.len() > self.limit || *sum != checksum(body) {
            return Err(Undecodable::Garbage);
        }
        let decode = || {
            let mut body = Fields(body);
            if body.array()? != self.magic {
                return None;
            }
            let version = body.u16()?;
            if version > self.version {
                // Later bytes may have another meaning there.
                return Some(Err(Undecodable::Newer(version)));
            }
            let (marks, length) = (body.array()?, body.u32()?);
            if version != self.version || length as usize != record.len() {
                return None;
            }
            let decoded = fields(marks, &mut body)?;
            body.0.is_empty().then_some(Ok(decoded))
        };
        decode().unwrap_or(Err(Undecodable::Garbage))
    }

    /// Reads the record at `path` and decodes it.
    pub fn read<T>(
        &self,
        path: &Path,
        decode: impl FnOnce(&[u8]) -> Result<T, Undecodable>,
    ) -> Result<Found<T>, RecordError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(RecordError::io("open", path)(error)),
        };
        let mut record = Vec::new();
        file.take(self.limit as u64 + 1).read_to_end(&mut record).map_err(RecordError::io("read", path))?;
        match decode(&record) {
            Ok(record) => Ok(Found::Record(record)),
            Err(Undecodable::Garbage) => Ok(Found::Garbage),
            Err(Undecodable::Newer(version)) => Err(RecordError::NewerFormat { path: path.to_path_buf(), version }),
        }
    }
}

/// Replaces the record at `place`, by way of `temporary` in the same file system. A crash leaves the old record or the
/// new one, never a mixture, and perhaps a file under the temporary name. With `durable`, a power cut does so, too. The
/// new record is certain only when the caller has synced the directory of `place`.
pub fn replace(record: &[u8], temporary: &Path, place: &Path, durable: bool) -> Result<(), RecordError> {
    disk::write_and_rename(&[record], temporary, place, durable).map_err(RecordError::io("replace", place))
}

/// The unread fields of a record. Each method returns the next field, or `None` if too few bytes are left.
#[derive(Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(field)
    }

    /// All remaining bytes.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// The next `count` bytes as UTF-8.
    pub fn text(&mut self, count: usize) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(count)?).ok()
    }

    /// A field of a fixed size.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A time in the format of [`time_field`].
    pub fn time(&mut self) -> Option<SystemTime> {
        let since = Duration::from_millis(self.u64()?);
        Some(UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH))
    }
}

/// Milliseconds since 1970.
pub fn time_field(time: SystemTime) -> [u8; 8] {
    let milliseconds = time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64);
    milliseconds.to_le_bytes()
}

#[cfg(test)]
mod tests;
