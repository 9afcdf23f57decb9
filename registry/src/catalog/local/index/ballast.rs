//! Disk space that is kept for the index, so that it can grow and be rebuilt on a full disk.
//!
//! A file has the space until the log of a database needs it. Then the file gets shorter, and the log gets as much beyond
//! its end. When a database has failed, the file gets its space.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use content_store::Room;

use super::directory::IndexDirectory;

const BALLAST: &str = "ballast";

/// The size of the file is a multiple of this, so that few batches change it.
const STEP: u64 = 4 << 20;

/// Bytes given back at once for the names and small files of a new database.
const SMALL_FILES: u64 = 256 << 10;

/// The file leaves this much more free than the parts of the reserve.
const FOR_PUSHES: u64 = 2 << 20;

/// A rebuild gets this many times the length of the log, and the log's own space. sled uses a segment again when less than
/// two fifths of it count, so a log can become two and a half times as long as what it has.
const LOGS: u64 = 2;

/// The file, for databases of one directory.
#[derive(Clone, Debug)]
pub(crate) struct Ballast {
    directory: IndexDirectory,
    /// Least bytes of the file.
    least: u64,
    /// For the log of a database.
    log_room: Room,
    /// For the file.
    room: Room,
}

/// How much of the file a log gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lend {
    /// What a rebuild does not need.
    Spare,
    All,
}

impl Ballast {
    /// A file of at least `least` bytes. Logs leave `reserve` bytes of the file system free, as long as the file has
    /// space for them.
    pub(crate) fn new(directory: IndexDirectory, least: u64, reserve: u64) -> Self {
        let log_room = Room::new(directory.path(), reserve);
        // Uploads leave an eighth more than the reserve, and the file must not make a node refuse them.
        let room = log_room.leaving(reserve.saturating_add(reserve / 4).saturating_add(FOR_PUSHES));
        Ballast { directory, least, log_room, room }
    }

    /// Makes the file as large as a rebuild of this database needs, or as the file system allows.
    pub(crate) fn fill(&self, generation: u64) -> io::Result<()> {
        let needed = self.needed(self.log(generation)?.len()).next_multiple_of(STEP);
        let mut file = self.open()?;
        while file.bytes < needed {
            match self.room.reserve(STEP.min(needed - file.bytes)) {
                Ok(reserved) => file.extend(reserved.bytes())?,
                Err(error) if is_full(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn needed(&self, log: u64) -> u64 {
        self.least.max(LOGS * log + SMALL_FILES)
    }

    /// Makes room for this many more bytes of the database's log, from free space or from the file.
    pub(crate) fn lend(&self, generation: u64, bytes: u64, lend: Lend) -> io::Result<()> {
        let log = self.log(generation)?;
        let end = log.len();
        let has = allocated(&log).saturating_sub(end);
        let missing = bytes.saturating_sub(has);
        if missing == 0 {
            return Ok(());
        }
        let log = OpenOptions::new().write(true).open(self.path_of_log(generation))?;
        let beyond_end = |bytes| fallocate(&log, libc::FALLOC_FL_KEEP_SIZE, end, bytes);
        match self.log_room.reserve(missing).and_then(|_reserved| beyond_end(bytes)) {
            Err(error) if is_full(&error) => {
                let mut file = self.open()?;
                let kept = match lend {
                    // A rebuild gets this, and the space of the log.
                    Lend::Spare => end + end / 2 + SMALL_FILES,
                    Lend::All => 0,
                };
                match missing.min(file.bytes.saturating_sub(kept)) {
                    0 => Ok(()),
                    lent => file.shorten(lent).and_then(|()| beyond_end(has + lent)),
                }
            }
            outcome => outcome,
        }
    }

    /// Frees some space for the names and small files of a new database.
    pub(crate) fn free_some(&self) -> io::Result<()> {
        let mut file = self.open()?;
        let bytes = SMALL_FILES.min(file.bytes);
        file.shorten(bytes)
    }

    /// Removes a failed database, and gives the file its space before another program takes it.
    pub(crate) fn take_back(&self, generation: u64) -> io::Result<()> {
        let mut had = self.log(generation).as_ref().map_or(0, allocated);
        self.directory.remove(generation)?;
        let mut file = self.open()?;
        // Another program may have been faster.
        while had >= SMALL_FILES && file.extend(had).is_err() {
            had /= 2;
        }
        Ok(())
    }

    fn path_of_log(&self, generation: u64) -> std::path::PathBuf {
        self.directory.database(generation).join("db")
    }

    /// The log of a database, which has nearly all of its bytes.
    fn log(&self, generation: u64) -> io::Result<fs::Metadata> {
        fs::metadata(self.path_of_log(generation))
    }

    fn open(&self) -> io::Result<Opened> {
        let path = self.directory.path().join(BALLAST);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let meta = file.metadata()?;
        // After a crash it may be longer than what is reserved.
        let bytes = meta.len().min(allocated(&meta));
        Ok(Opened { file, bytes })
    }
}

/// The open file, with its size.
#[derive(Debug)]
struct Opened {
    file: File,
    bytes: u64,
}

impl Opened {
    fn extend(&mut self, bytes: u64) -> io::Result<()> {
        fallocate(&self.file, 0, 0, self.bytes + bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    fn shorten(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(self.bytes - bytes)?;
        self.bytes -= bytes;
        Ok(())
    }
}

/// True for errors that mean no space, or no quota for more.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn allocated(meta: &fs::Metadata) -> u64 {
    // The unit of this figure is always 512 bytes.
    meta.blocks() * 512
}

fn fallocate(file: &File, mode: libc::c_int, offset: u64, length: u64) -> io::Result<()> {
    let number = |bytes: u64| libc::off_t::try_from(bytes).map_err(io::Error::other);
    let (offset, length) = (number(offset)?, number(length)?);
    // SAFETY: the descriptor is open while `file` is borrowed, and no memory is passed.
    #[expect(unsafe_code, reason = "fallocate has no safe wrapper in std")]
    let code = unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, length) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::catalog::local::index::Index;

    const MIB: u64 = 1 << 20;

    /// A directory with a database, and its ballast; `None` on a file system without reservations.
    fn fixture(place: &tempfile::TempDir) -> Option<(Ballast, Index)> {
        let directory = IndexDirectory::open(place.path().into()).unwrap();
        let index = Index::open(&directory.database(1), 1, MIB, "j").unwrap();
        index.flush().unwrap();
        let ballast = Ballast::new(directory, 6 * MIB, 0);
        match ballast.fill(1) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => None,
            outcome => Some(outcome.map(|()| (ballast, index)).unwrap()),
        }
    }

    /// This file on a file system that reports that it is full.
    fn when_full(ballast: &Ballast) -> Ballast {
        Ballast::new(ballast.directory.clone(), ballast.least, u64::MAX)
    }

    fn size(ballast: &Ballast) -> u64 {
        ballast.open().unwrap().bytes
    }

    #[test]
    fn a_log_gets_free_space_and_on_a_full_disk_what_a_rebuild_does_not_need() {
        let place = tempfile::tempdir().unwrap();
        let Some((ballast, _index)) = fixture(&place) else { return };
        assert_eq!(size(&ballast), 8 * MIB, "a multiple of the step");
        let beyond = || ballast.log(1).map(|log| allocated(&log).saturating_sub(log.len())).unwrap();
        ballast.lend(1, MIB, Lend::Spare).unwrap();
        assert!(beyond() >= MIB && size(&ballast) == 8 * MIB);
        let full = when_full(&ballast);
        full.lend(1, MIB, Lend::Spare).unwrap();
        assert_eq!(size(&full), 8 * MIB, "the log has that much");
        full.lend(1, 3 * MIB, Lend::Spare).unwrap();
        assert!(beyond() >= 3 * MIB && (5 * MIB..7 * MIB).contains(&size(&full)), "{} bytes", size(&full));
        full.lend(1, 64 * MIB, Lend::Spare).unwrap();
        let kept = size(&full);
        assert!(kept >= SMALL_FILES, "nothing is left for a rebuild");
        full.lend(1, 128 * MIB, Lend::All).unwrap();
        assert!(size(&full) == 0 && beyond() > 7 * MIB);
    }

    #[test]
    fn on_a_full_disk_the_file_stays_as_it_is_and_grows_later() {
        let place = tempfile::tempdir().unwrap();
        let Some((ballast, _index)) = fixture(&place) else { return };
        ballast.open().unwrap().shorten(8 * MIB).unwrap();
        when_full(&ballast).fill(1).unwrap();
        assert_eq!(size(&ballast), 0);
        ballast.fill(1).unwrap();
        assert_eq!(size(&ballast), 8 * MIB);
        ballast.free_some().unwrap();
        assert_eq!(size(&ballast), 8 * MIB - SMALL_FILES);
    }

    /// The space of a failed index was free for all before the next one could use it.
    #[test]
    fn the_space_of_a_failed_database_comes_back() {
        let place = tempfile::tempdir().unwrap();
        let Some((ballast, index)) = fixture(&place) else { return };
        index.apply(BTreeMap::new(), Some(7)).unwrap();
        index.flush().unwrap();
        when_full(&ballast).lend(1, 2 * MIB, Lend::All).unwrap();
        let had = allocated(&ballast.log(1).unwrap()) + size(&ballast);
        index.abandon();
        ballast.take_back(1).unwrap();
        assert_eq!(ballast.directory.newest().unwrap(), None);
        assert!(size(&ballast) >= had - had % 4096, "{} of {had} bytes", size(&ballast));
    }

    /// sled writes by offsets, and its file had no bytes beyond its end before.
    #[test]
    fn a_database_with_space_beyond_its_end_opens_again() {
        let place = tempfile::tempdir().unwrap();
        let Some((ballast, index)) = fixture(&place) else { return };
        ballast.lend(1, 4 * MIB, Lend::All).unwrap();
        index.apply(BTreeMap::new(), Some(7)).unwrap();
        index.flush().unwrap();
        drop(index);
        let again = Index::open(&ballast.directory.database(1), 1, MIB, "j").unwrap();
        assert_eq!(again.meta().applied, Some(7));
    }
}
