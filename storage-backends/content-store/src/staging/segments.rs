//! The bytes of a session: files of one length, in order. A session in one file is a single segment without a limit.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::gone;
use crate::{StoreError, content, disk};

/// The length of segments, in bytes, where all bytes of a session are in one file.
pub const ONE_FILE: u64 = u64::MAX;

/// Bytes between two starts of write-back, so that a sync finds little left to do.
const WRITE_BACK_STEP: u64 = 8 * 1024 * 1024;

/// Full segments with begun write-back that were not waited for: 64 MiB of the usual ones, so that a sync point has
/// little left to write.
const UNSYNCED: usize = 16;

/// The name of the first segment, and the prefix of the others' names.
const NAME: &str = "data";

/// The file of a segment in the directory of its session.
fn path(session: &Path, number: u64) -> PathBuf {
    session.join(if number == 0 { NAME.to_owned() } else { format!("{NAME}.{number}") })
}

/// The number of a segment, from its file's name.
fn number(name: &str) -> Option<u64> {
    match name.strip_prefix(NAME)? {
        "" => Some(0),
        rest => rest.strip_prefix('.')?.parse().ok(),
    }
}

/// The files of `length` bytes, each with its number of valid bytes.
pub(super) fn files(session: &Path, size: u64, length: u64) -> Vec<(PathBuf, u64)> {
    (0..length.div_ceil(size)).map(|number| (path(session, number), size.min(length - number * size))).collect()
}

/// The number of contiguous bytes from the start, and the time of the last write; `None` if there is no segment.
pub(super) fn available(session: &Path, size: u64) -> Result<Option<(u64, SystemTime)>, StoreError> {
    let mut available = None;
    for number in 0.. {
        let path = path(session, number);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(StoreError::io("stat", &path)(error)),
        };
        // One file becomes content by a rename. A second name would belong to published content, which must never be
        // written to. File systems that rename atomically leave no second name.
        if size == ONE_FILE && metadata.nlink() > 1 {
            break;
        }
        let written = metadata.modified().map_err(StoreError::io("stat", &path))?;
        available = Some((number * size + metadata.len().min(size), written));
        if metadata.len() < size {
            break;
        }
    }
    Ok(available)
}

/// Removes the segments from this one on.
pub(super) fn remove_from(session: &Path, first: u64) -> Result<(), StoreError> {
    let entries = match fs::read_dir(session) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(StoreError::io("list", session))?,
    };
    for entry in entries {
        let name = entry.map_err(StoreError::io("list", session))?.file_name();
        if name.to_str().and_then(number).is_some_and(|number| number >= first) {
            let path = session.join(name);
            gone(fs::remove_file(&path)).map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// The segments of an open session.
#[derive(Debug)]
pub(super) struct Segments {
    session: PathBuf,
    size: u64,
    length: u64,
    /// The last segment, if it has room.
    open: Option<File>,
    /// Write-back of the open segment was started up to here.
    written_back: u64,
    /// Full segments that may not be durable yet, each with its number.
    unsynced: VecDeque<(u64, File)>,
}

impl Segments {
    /// Makes the first segment, empty, if the session has bytes at all.
    pub(super) fn create(session: &Path, size: u64, has_bytes: bool) -> Result<Self, StoreError> {
        let mut segments = Segments::new(session, size);
        if has_bytes {
            segments.open = Some(content::create_staging(&path(session, 0))?);
        }
        Ok(segments)
    }

    /// Opens the existing segments, and truncates them to `length`, which they have at least.
    pub(super) fn open(session: &Path, size: u64, length: u64) -> Result<Self, StoreError> {
        let mut segments = Segments { written_back: length % size, ..Segments::new(session, size) };
        segments.cut(length)?;
        Ok(segments)
    }

    fn new(session: &Path, size: u64) -> Self {
        let session = session.to_path_buf();
        Segments { session, size, length: 0, open: None, written_back: 0, unsynced: VecDeque::new() }
    }

    /// The number of bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Adds bytes. After a failure, any part of them may have been written, until the segments are cut.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (number, offset) = (self.length / self.size, self.length % self.size);
            let file = match &mut self.open {
                Some(file) => file,
                none => {
                    self.written_back = 0;
                    none.insert(content::create_staging(&path(&self.session, number))?)
                }
            };
            let (now, later) = rest.split_at((self.size - offset).min(rest.len() as u64) as usize);
            disk::write_at(file, now, offset)
                .map_err(|error| StoreError::io("write", &path(&self.session, number))(error))?;
            self.length += now.len() as u64;
            rest = later;
            let end = offset + now.len() as u64;
            if end - self.written_back >= WRITE_BACK_STEP || end == self.size {
                self.start_write_back_to(end);
            }
            if end == self.size {
                self.unsynced.extend(self.open.take().map(|file| (number, file)));
            }
        }
        Ok(())
    }

    /// Starts write-back of the bytes added since the last time.
    pub(super) fn start_write_back(&mut self) {
        self.start_write_back_to(self.length % self.size);
    }

    fn start_write_back_to(&mut self, end: u64) {
        if let Some(file) = &self.open {
            disk::start_write_back(file, self.written_back, end - self.written_back);
            self.written_back = end;
        }
    }

    /// Waits for the oldest full segments, so that few are left to a sync point.
    pub(super) fn sync_oldest(&mut self) -> Result<(), StoreError> {
        self.sync_all_but(UNSYNCED)
    }

    /// Makes the bytes of all segments durable; their names become durable when the directory is synced.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.sync_all_but(0)?;
        let path = path(&self.session, self.length / self.size);
        self.open.as_ref().map_or(Ok(()), disk::sync_data).map_err(StoreError::io("sync", &path))
    }

    fn sync_all_but(&mut self, few: usize) -> Result<(), StoreError> {
        while self.unsynced.len() > few {
            let Some((number, file)) = self.unsynced.pop_front() else { break };
            disk::sync_data(&file).map_err(StoreError::io("sync", &path(&self.session, number)))?;
        }
        Ok(())
    }

    /// Removes all bytes from `length` on.
    pub(super) fn cut(&mut self, length: u64) -> Result<(), StoreError> {
        self.length = length;
        let (number, rest) = (length / self.size, length % self.size);
        // The first segment is never removed: without it there would be no session.
        remove_from(&self.session, length.div_ceil(self.size).max(1))?;
        self.unsynced.retain(|(other, _)| *other < number);
        self.open = None;
        if rest > 0 || length == 0 {
            let path = path(&self.session, number);
            let file = open_own(&path).map_err(StoreError::io("open", &path))?;
            file.set_len(rest).map_err(StoreError::io("cut", &path))?;
            (self.open, self.written_back) = (Some(file), self.written_back.min(rest));
        }
        Ok(())
    }
}

/// Opens a segment for writing. If a store has taken it over, it is another name of a file there, which must not change.
/// Then a copy replaces it.
fn open_own(path: &Path) -> io::Result<File> {
    let metadata = fs::metadata(path)?;
    if metadata.nlink() > 1 || metadata.permissions().readonly() {
        let copy = path.with_file_name("copy.tmp");
        gone(fs::remove_file(&copy))?;
        let mut to = OpenOptions::new().write(true).create_new(true).mode(disk::STAGING_MODE).open(&copy)?;
        io::copy(&mut File::open(path)?, &mut to)?;
        fs::rename(&copy, path)?;
    }
    OpenOptions::new().write(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(session: &Path, length: u64) -> Vec<u8> {
        files(session, 10, length)
            .into_iter()
            .flat_map(|(path, length)| fs::read(path).unwrap()[..length as usize].to_vec())
            .collect()
    }

    fn there(session: &Path) -> Option<u64> {
        available(session, 10).unwrap().map(|(bytes, _)| bytes)
    }

    #[test]
    fn bytes_go_to_segments_and_are_cut_anywhere() {
        let place = tempfile::tempdir().unwrap();
        let session = place.path();
        assert_eq!(there(session), None);
        Segments::create(session, 10, true).unwrap();
        let content: Vec<u8> = (0..35).collect();
        for length in [0, 1, 9, 10, 11, 20, 30, 34] {
            let mut segments = Segments::open(session, 10, 0).unwrap();
            for piece in content.chunks(7) {
                segments.append(piece).unwrap();
            }
            segments.sync().unwrap();
            assert_eq!((there(session), bytes(session, 35)), (Some(35), content.clone()));
            segments.cut(length).unwrap();
            assert_eq!(there(session), Some(length), "cut to {length}");
            let mut segments = Segments::open(session, 10, length).unwrap();
            segments.append(&content[length as usize..]).unwrap();
            assert_eq!(bytes(session, 35), content, "cut to {length}");
        }
        remove_from(session, 0).unwrap();
        assert_eq!(fs::read_dir(session).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_has_another_name_is_not_changed() {
        let place = tempfile::tempdir().unwrap();
        Segments::create(place.path(), 10, true).unwrap();
        Segments::open(place.path(), 10, 0).unwrap().append(b"0123456789").unwrap();
        let other = place.path().join("sector");
        fs::hard_link(path(place.path(), 0), &other).unwrap();
        Segments::open(place.path(), 10, 4).unwrap().append(b"xyz").unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"0123456789");
        assert_eq!(bytes(place.path(), 7), b"0123xyz");
    }
}
