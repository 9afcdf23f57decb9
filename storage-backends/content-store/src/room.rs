//! Room on a file system. A writer reserves the bytes before it writes them, in the one account of the file system.
//!
//! The account has the bytes that this process has reserved and not written yet, whichever part of it wrote them. A
//! reservation is granted if it fits beside those bytes and beside the bytes to be kept free, by what the file system
//! says at that moment. So writers at once cannot take together what each of them saw free, and the writes of other
//! programs count.
//!
//! Reservations are counted, and no blocks are allocated for them. Another program can still take the space before it
//! is written. Then the write fails as on any full disk.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::disk::{self, Free};

/// Bytes that a body reserves at a time, so that the free space is read once for each.
const SLICE: u64 = 4 * 1024 * 1024;

/// A slice is at most this part of what is left, so that a few writers cannot reserve all of a disk that is nearly
/// full.
const PART: u64 = 64;

/// Bytes that a file system may need for a file beside its content: blocks for its directory, its record and its end.
pub(crate) const OVERHEAD: u64 = 32 * 1024;

/// Files that can still be made, below which no further bytes are granted: the journal needs some, too.
const FILES_KEPT: u64 = 64;

/// The bytes of one file system that are reserved and not written.
#[derive(Debug, Default)]
struct Account(Mutex<Balance>);

#[derive(Debug, Default)]
struct Balance {
    reserved: u64,
    /// Number of reservations granted so far.
    granted: u64,
}

/// The accounts that are in use, by the device number of the file system.
static ACCOUNTS: Mutex<BTreeMap<u64, Weak<Account>>> = Mutex::new(BTreeMap::new());

impl Account {
    fn of(path: &Path) -> io::Result<Arc<Self>> {
        let device = path.metadata()?.dev();
        let mut accounts = ACCOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.retain(|_, account| account.strong_count() > 0);
        if let Some(account) = accounts.get(&device).and_then(Weak::upgrade) {
            return Ok(account);
        }
        let account = Arc::default();
        accounts.insert(device, Arc::downgrade(&account));
        Ok(account)
    }

    fn balance(&self) -> MutexGuard<'_, Balance> {
        // Each change is complete between any two steps, so a panic breaks nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one kind of writers on the file system of a directory. Clones share it.
#[derive(Clone, Debug)]
pub struct Room {
    path: PathBuf,
    keep_free: u64,
    /// Looked up at the first use, when the directory exists.
    account: Arc<OnceLock<Arc<Account>>>,
    look: fn(&Path) -> io::Result<Free>,
}

impl Room {
    /// Room on the file system of `path` for writers that leave `keep_free` bytes of it free. The directory must exist
    /// at the first use.
    pub fn new(path: &Path, keep_free: u64) -> Self {
        Room { path: path.to_path_buf(), keep_free, account: Arc::default(), look: disk::free }
    }

    /// Room in the same account for writers that leave another number of bytes free.
    #[must_use]
    pub fn leaving(&self, keep_free: u64) -> Self {
        Room { keep_free, ..self.clone() }
    }

    /// Checks that this number of bytes would be granted now, and reserves nothing.
    ///
    /// Errors: [`io::ErrorKind::StorageFull`], and failures to read the free space.
    pub fn check(&self, bytes: u64) -> io::Result<()> {
        let reserved = self.account()?.balance().reserved;
        self.left_beside(reserved, bytes).map(drop)
    }

    /// Reserves this number of bytes.
    ///
    /// Errors: [`io::ErrorKind::StorageFull`], and failures to read the free space.
    pub fn reserve(&self, bytes: u64) -> io::Result<Reserved> {
        self.reserve_within(bytes, bytes)
    }

    /// Reserves what a file of a few hundred bytes needs, with its name.
    ///
    /// Errors: [`io::ErrorKind::StorageFull`], and failures to read the free space.
    pub fn small_file(&self) -> io::Result<Reserved> {
        self.reserve(OVERHEAD)
    }

    /// Reserves a slice of a body, with at least `needed` bytes.
    ///
    /// Errors: [`io::ErrorKind::StorageFull`], and failures to read the free space.
    pub fn slice(&self, needed: u64) -> io::Result<Reserved> {
        self.reserve_within(needed, needed.max(SLICE))
    }

    /// The look at the file system comes after that at the account: bytes written in between count twice, never not at
    /// all. If another reservation was granted meanwhile, its bytes count only in a new look.
    fn reserve_within(&self, least: u64, most: u64) -> io::Result<Reserved> {
        let account = self.account()?;
        loop {
            let Balance { reserved, granted } = *account.balance();
            let left = self.left_beside(reserved, least)?;
            let bytes = (left / PART).clamp(least, most);
            let mut balance = account.balance();
            if balance.granted == granted {
                balance.granted += 1;
                balance.reserved += bytes;
                return Ok(Reserved { account: Arc::clone(account), bytes });
            }
        }
    }

    /// The bytes left beside the reserved ones; there are at least `wanted`.
    fn left_beside(&self, reserved: u64, wanted: u64) -> io::Result<u64> {
        let free = (self.look)(&self.path)?;
        let left = free.bytes.checked_sub(self.keep_free).and_then(|left| left.checked_sub(reserved));
        match left.filter(|left| *left >= wanted) {
            Some(left) if free.files.is_none_or(|files| files >= FILES_KEPT) => Ok(left),
            _ => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn account(&self) -> io::Result<&Arc<Account>> {
        if let Some(account) = self.account.get() {
            return Ok(account);
        }
        let account = Account::of(&self.path)?;
        Ok(self.account.get_or_init(|| account))
    }
}

/// Reserved bytes. A drop gives back the rest that was not written.
#[derive(Debug)]
pub struct Reserved {
    account: Arc<Account>,
    bytes: u64,
}

impl Reserved {
    /// Bytes that are left of it.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes written bytes out of it. From now on the file system counts them.
    pub fn written(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.account.balance().reserved -= bytes;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.written(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A file system whose free bytes and files stand in a file.
    fn look(path: &Path) -> io::Result<Free> {
        let text = fs::read_to_string(path.join("free"))?;
        let (bytes, files) = text.split_once(' ').unwrap();
        Ok(Free { bytes: bytes.parse().unwrap(), files: files.parse().ok() })
    }

    fn room(path: &Path, keep_free: u64) -> Room {
        let room = Room { look, ..Room::new(path, keep_free) };
        // Other tests use the account of the real file system.
        room.account.set(Arc::default()).unwrap();
        room
    }

    fn set_free(path: &Path, bytes: u64, files: &str) {
        fs::write(path.join("free"), format!("{bytes} {files}")).unwrap();
    }

    fn reserved(room: &Room) -> u64 {
        room.account().unwrap().balance().reserved
    }

    fn is_full<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::StorageFull)
    }

    /// 220 writers that had each seen 11 MiB above the reserve took 75 MiB.
    #[test]
    fn writers_at_once_reserve_no_more_than_is_left() {
        let place = tempfile::tempdir().unwrap();
        set_free(place.path(), 75 * MIB, "none");
        let room = room(place.path(), 64 * MIB);
        let granted: Vec<Reserved> = thread::scope(|scope| {
            let writers: Vec<_> = (0..220).map(|_| scope.spawn(|| room.slice(100_000).ok())).collect();
            writers.into_iter().filter_map(|writer| writer.join().unwrap()).collect()
        });
        let all: u64 = granted.iter().map(Reserved::bytes).sum();
        assert!(all <= 11 * MIB && all > 10 * MIB, "{} grants of {all} bytes", granted.len());
        assert_eq!(reserved(&room), all);
        drop(granted);
        assert_eq!(reserved(&room), 0);
    }

    #[test]
    fn written_bytes_count_once() {
        let place = tempfile::tempdir().unwrap();
        set_free(place.path(), 1000, "none");
        let room = room(place.path(), 100);
        let mut first = room.reserve(600).unwrap();
        assert!(is_full(room.reserve(301)) && is_full(room.check(301)));
        room.check(300).unwrap();
        set_free(place.path(), 600, "none");
        first.written(400);
        assert_eq!(first.bytes(), 200);
        let second = room.reserve(300).unwrap();
        assert!(is_full(room.reserve(1)));
        drop((first, second));
        room.reserve(500).unwrap();
    }

    #[test]
    fn a_panicking_writer_gives_its_bytes_back() {
        let place = tempfile::tempdir().unwrap();
        set_free(place.path(), 1000, "none");
        let room = room(place.path(), 0);
        let other = room.clone();
        let writer = thread::spawn(move || {
            let _reserved = other.reserve(1000).unwrap();
            panic!("on purpose");
        });
        writer.join().unwrap_err();
        room.reserve(1000).unwrap();
    }

    #[test]
    fn other_kinds_of_writers_share_the_account_and_leave_less() {
        let place = tempfile::tempdir().unwrap();
        set_free(place.path(), 1000, "none");
        let uploads = room(place.path(), 400);
        let records = uploads.leaving(300);
        let _upload = uploads.reserve(600).unwrap();
        assert!(is_full(uploads.reserve(1)));
        let _record = records.reserve(100).unwrap();
        assert!(is_full(records.reserve(1)));
    }

    #[test]
    fn rooms_on_one_file_system_have_one_account() {
        let place = tempfile::tempdir().unwrap();
        let below = place.path().join("below");
        fs::create_dir(&below).unwrap();
        let (one, other) = (Room::new(place.path(), 0), Room::new(&below, 1));
        assert!(Arc::ptr_eq(one.account().unwrap(), other.account().unwrap()));
        assert!(Room::new(&place.path().join("absent"), 0).check(0).is_err());
    }

    /// File systems without a table of inodes report 0 files in all.
    #[test]
    fn files_run_out_only_where_they_are_counted() {
        let place = tempfile::tempdir().unwrap();
        let room = room(place.path(), 0);
        set_free(place.path(), MIB, "63");
        assert!(is_full(room.reserve(1)));
        for files in ["64", "none"] {
            set_free(place.path(), MIB, files);
            room.reserve(1).unwrap();
        }
    }
}
