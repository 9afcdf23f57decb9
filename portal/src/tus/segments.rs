//! The bytes of an upload: files of one sector each, in order, so that the store can take them over unchanged.
//!
//! Every call blocks.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use content_store::{start_write_back, sync_data};

use super::TusError;

/// Full segments with begun write-back that were not waited for: 64 MiB of the usual ones, so that a sync point has
/// little left to write.
const UNSYNCED: usize = 16;

/// The name of the first segment, and the prefix of the others' names.
const NAME: &str = "data";

/// The file of a segment in the directory of its upload.
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

/// Makes the first segment, empty.
pub(super) fn create(session: &Path) -> Result<(), TusError> {
    create_file(&path(session, 0)).map(drop)
}

/// The number of contiguous bytes from the start; `None` if there is no segment.
pub(super) fn available(session: &Path, size: u64) -> Result<Option<u64>, TusError> {
    let mut available = None;
    for number in 0.. {
        let path = path(session, number);
        match fs::metadata(&path) {
            Ok(metadata) => {
                available = Some(number * size + metadata.len().min(size));
                if metadata.len() < size {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(TusError::io("stat", &path)(error)),
        }
    }
    Ok(available)
}

/// Removes the segments from this one on.
pub(super) fn remove_from(session: &Path, first: u64) -> Result<(), TusError> {
    let entries = match fs::read_dir(session) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(TusError::io("list", session))?,
    };
    for entry in entries {
        let name = entry.map_err(TusError::io("list", session))?.file_name();
        if name.to_str().and_then(number).is_some_and(|number| number >= first) {
            let path = session.join(name);
            gone(fs::remove_file(&path)).map_err(TusError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// The segments of an upload in progress.
#[derive(Debug)]
pub(super) struct Segments {
    session: PathBuf,
    size: u64,
    length: u64,
    /// The last segment, if it has room.
    open: Option<(u64, File)>,
    /// Full segments that may not be durable yet.
    unsynced: VecDeque<(u64, File)>,
}

impl Segments {
    /// Opens the existing segments, and truncates them to `length`, which they have at least.
    pub(super) fn open(session: &Path, size: u64, length: u64) -> Result<Self, TusError> {
        let session = session.to_path_buf();
        let mut segments = Segments { session, size, length, open: None, unsynced: VecDeque::new() };
        segments.cut(length)?;
        Ok(segments)
    }

    /// Adds bytes: all of them, or none if it fails.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), TusError> {
        let before = self.length;
        let written = self.write(bytes);
        if written.is_err() {
            // The written part is removed. Otherwise the next sync point must not state more than the last one.
            self.cut(before)?;
        }
        written
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TusError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (number, offset) = (self.length / self.size, self.length % self.size);
            let path = path(&self.session, number);
            let file = match &mut self.open {
                Some((_, file)) => file,
                none => &mut none.insert((number, create_file(&path)?)).1,
            };
            let (now, later) = rest.split_at(rest.len().min((self.size - offset) as usize));
            file.write_all_at(now, offset).map_err(TusError::io("write", &path))?;
            self.length += now.len() as u64;
            rest = later;
            if self.length.is_multiple_of(self.size) {
                self.end_segment()?;
            }
        }
        Ok(())
    }

    fn end_segment(&mut self) -> Result<(), TusError> {
        if let Some((number, file)) = self.open.take() {
            start_write_back(&file, 0, self.size);
            self.unsynced.push_back((number, file));
        }
        if self.unsynced.len() > UNSYNCED { self.sync_first() } else { Ok(()) }
    }

    fn sync_first(&mut self) -> Result<(), TusError> {
        let Some((number, file)) = self.unsynced.pop_front() else { return Ok(()) };
        sync_data(&file).map_err(TusError::io("sync", &path(&self.session, number)))
    }

    /// Makes the bytes of all segments durable; their names become durable when the directory is synced.
    pub(super) fn sync(&mut self) -> Result<(), TusError> {
        while !self.unsynced.is_empty() {
            self.sync_first()?;
        }
        match &self.open {
            Some((number, file)) => sync_data(file).map_err(TusError::io("sync", &path(&self.session, *number))),
            None => Ok(()),
        }
    }

    /// Removes all bytes from `length` on.
    pub(super) fn cut(&mut self, length: u64) -> Result<(), TusError> {
        self.length = length;
        let (number, rest) = (length / self.size, length % self.size);
        // The first segment is never removed: without it there would be no upload.
        remove_from(&self.session, length.div_ceil(self.size).max(1))?;
        self.unsynced.retain(|(other, _)| *other < number);
        self.open = None;
        if rest > 0 || length == 0 {
            let path = path(&self.session, number);
            let file = open_own(&path).map_err(TusError::io("open", &path))?;
            file.set_len(rest).map_err(TusError::io("cut", &path))?;
            self.open = Some((number, file));
        }
        Ok(())
    }
}

/// Opens a segment for writing. If the store has taken it over, it is another name of a sector's file and must not
/// change. Then a copy replaces it.
fn open_own(path: &Path) -> io::Result<File> {
    let metadata = fs::metadata(path)?;
    if metadata.nlink() > 1 || metadata.permissions().readonly() {
        let copy = path.with_file_name("copy.tmp");
        gone(fs::remove_file(&copy))?;
        let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&copy)?;
        io::copy(&mut File::open(path)?, &mut to)?;
        fs::rename(&copy, path)?;
    }
    OpenOptions::new().write(true).open(path)
}

pub(super) fn create_file(path: &Path) -> Result<File, TusError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map_err(TusError::io("create", path))
}

/// Treats a missing file as removed.
pub(super) fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
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

    #[test]
    fn bytes_go_to_segments_and_are_cut_anywhere() {
        let place = tempfile::tempdir().unwrap();
        let session = place.path();
        assert_eq!(available(session, 10).unwrap(), None);
        create(session).unwrap();
        let content: Vec<u8> = (0..35).collect();
        for length in [0, 1, 9, 10, 11, 20, 30, 34] {
            let mut segments = Segments::open(session, 10, 0).unwrap();
            for piece in content.chunks(7) {
                segments.append(piece).unwrap();
            }
            segments.sync().unwrap();
            assert_eq!((available(session, 10).unwrap(), bytes(session, 35)), (Some(35), content.clone()));
            segments.cut(length).unwrap();
            assert_eq!(available(session, 10).unwrap(), Some(length), "cut to {length}");
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
        create(place.path()).unwrap();
        Segments::open(place.path(), 10, 0).unwrap().append(b"0123456789").unwrap();
        let other = place.path().join("sector");
        fs::hard_link(path(place.path(), 0), &other).unwrap();
        Segments::open(place.path(), 10, 4).unwrap().append(b"xyz").unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"0123456789");
        assert_eq!(bytes(place.path(), 7), b"0123xyz");
    }
}
