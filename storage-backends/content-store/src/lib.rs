//! The local content store: immutable files named by digest, with the staging of uploads beside them.
//!
//! Every call blocks, so call it from threads that may block. The store does not lock digests or sessions. Callers take
//! a digest's lock around every change of its file, and keep at most one [`Upload`] per session. `layout.rs` has the
//! paths and `docs/on-disk-format.md` the format of the state record.

pub mod checksum;
mod content;
pub mod digest;
mod direct;
mod disk;
mod error;
mod finish;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod hasher;
mod layout;
pub mod record;
mod room;
mod staged;
pub mod staging;
mod trouble;
mod upload;
mod upload_id;
mod upload_state;
mod verify;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::Algorithm;
use layout::{Layout, Place, SHARDS};
use room::OVERHEAD;
use staging::{ONE_FILE, Sessions};
use upload_state::UploadState;

pub use direct::DIRECT_ALIGNMENT;
#[cfg(any(test, feature = "testing"))]
pub use disk::faults;
pub use disk::{free_space, make_directory, rename, replace_file, start_write_back, sync_data, sync_directory};
pub use error::{CommitUploadError, StoreError};
pub use finish::FinishedUpload;
pub use room::{Reserved, Room};
pub use staged::Staged;
pub use staging::SYNC_STEP;
pub use upload::{Mark, Upload, UploadInfo};
pub use upload_id::{UploadId, UploadIdError};
pub use upload_state::OWNER_LIMIT;
pub use verify::{Verdict, full_speed};
pub use walk::{StoredContent, Walk};

/// A content store below one directory. Clones share it.
#[derive(Clone, Debug)]
pub struct ContentStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    layout: Layout,
    sessions: Sessions<UploadState>,
    /// One of the `SHARD_*` values for each directory of content.
    shards: Box<[AtomicU8]>,
    /// Names below `uploads/` that are being made at this moment, which a sweep must not take for leftovers.
    in_flight: Mutex<HashSet<String>>,
    /// See `trouble.rs`.
    troubled: AtomicBool,
}

/// Not yet used by this process. It may be missing, or a killed process made it without syncing its parent.
const SHARD_UNKNOWN: u8 = 0;
/// The directory itself is durable.
const SHARD_DURABLE: u8 = 1;
/// A sync of the directory failed. Its names may or may not be on the disk, even after a later successful sync. Only
/// names written after this can be trusted.
const SHARD_SUSPECT: u8 = 2;

impl ContentStore {
    /// Opens the store below `root`, and makes missing directories. A full disk is no error: reading and deleting are
    /// possible then.
    ///
    /// Errors: [`StoreError::NotWritable`] where files cannot be made, else the error of the system.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        ContentStore::open_with_reserve(root, 0)
    }

    /// Opens a store like [`open`](ContentStore::open). Its writers leave `reserve` bytes of its file system free.
    pub fn open_with_reserve(root: &Path, reserve: u64) -> Result<Self, StoreError> {
        let layout = Layout::new(root);
        make_durable_root(root)?;
        for directory in [&layout.blobs, &layout.uploads, &layout.quarantine] {
            disk::make_directory(directory).map_err(not_writable("make", directory))?;
        }
        // A crash before this: some of the directories are missing, and are made at the next start.
        disk::sync_directory(root).map_err(StoreError::io("sync", root))?;
        for algorithm in Algorithm::ALL {
            let directory = layout.blobs.join(algorithm.name());
            disk::make_directory(&directory).map_err(not_writable("make", &directory))?;
        }
        disk::sync_directory(&layout.blobs).map_err(StoreError::io("sync", &layout.blobs))?;
        for directory in [&layout.uploads, &layout.quarantine] {
            check_writable(directory)?;
        }
        for directory in [&layout.blobs, &layout.quarantine] {
            check_one_mount(&layout.uploads, directory)?;
        }
        Ok(ContentStore::new(layout, reserve))
    }

    /// Opens the store below `root` only for reads. Makes nothing there; missing directories have no content.
    pub fn open_to_read(root: &Path) -> Self {
        ContentStore::new(Layout::new(root), 0)
    }

    fn new(layout: Layout, reserve: u64) -> Self {
        ContentStore(Arc::new(Shared {
            sessions: Sessions::new(&layout.uploads, ONE_FILE, reserve),
            layout,
            shards: (0..Algorithm::ALL.len() * SHARDS).map(|_| AtomicU8::new(SHARD_UNKNOWN)).collect(),
            in_flight: Mutex::default(),
            troubled: AtomicBool::new(false),
        }))
    }

    /// Bytes that may still be written to the store's file system by this process.
    pub fn free_space(&self) -> Result<u64, StoreError> {
        let root = &self.layout().root;
        disk::free_space(root).map_err(StoreError::io("ask for the free space of", root))
    }

    /// Reserves room for content of this length.
    fn reserve(&self, bytes: u64) -> Result<Reserved, StoreError> {
        let root = &self.layout().root;
        self.sessions()
            .room()
            .reserve(bytes.saturating_add(OVERHEAD))
            .map_err(StoreError::io("keep the reserve of", root))
    }

    /// True if uploads are accepted now: there is room beside the reserve.
    pub fn has_room(&self) -> bool {
        self.sessions().check_room(1).is_ok()
    }

    fn sessions(&self) -> &Sessions<UploadState> {
        &self.0.sessions
    }

    fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// Makes the directory of a place, and syncs its parent at the first use. Another thread may see the directory
    /// before that sync, and must not rely on it then.
    fn ready_directory(&self, place: &Place) -> Result<(), StoreError> {
        let shard = &self.0.shards[place.shard];
        if shard.load(Ordering::Acquire) == SHARD_DURABLE {
            return Ok(());
        }
        self.watch(disk::make_directory(&place.directory).map_err(StoreError::io("make", &place.directory)))?;
        self.watch(disk::sync_directory(&place.parent).map_err(StoreError::io("sync", &place.parent)))?;
        // Not over SHARD_SUSPECT, which another thread may have set meanwhile.
        let _ = shard.compare_exchange(SHARD_UNKNOWN, SHARD_DURABLE, Ordering::AcqRel, Ordering::Acquire);
        Ok(())
    }

    /// Makes the names in a place's directory durable.
    fn sync_names(&self, place: &Place) -> Result<(), StoreError> {
        self.watch(disk::sync_directory(&place.directory).map_err(|source| {
            self.0.shards[place.shard].store(SHARD_SUSPECT, Ordering::Release);
            StoreError::io("sync", &place.directory)(source)
        }))
    }

    /// True if syncing the directory makes an existing name in it durable.
    fn trusts_names(&self, place: &Place) -> bool {
        self.0.shards[place.shard].load(Ordering::Acquire) != SHARD_SUSPECT
    }

    /// Protects a name from a sweep of `uploads/` until the guard is dropped.
    fn protect(&self, name: String) -> InFlight<'_> {
        self.in_flight().insert(name.clone());
        InFlight { store: self, name }
    }

    fn in_flight(&self) -> MutexGuard<'_, HashSet<String>> {
        // A panic cannot leave a set half changed, so a poisoned lock is safe here.
        self.0.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`ContentStore::protect`].
struct InFlight<'a> {
    store: &'a ContentStore,
    name: String,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.store.in_flight().remove(&self.name);
    }
}

/// A number that is unique in this process, across all stores.
fn unique_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Makes the root and its missing parents, each durable in its parent.
fn make_durable_root(root: &Path) -> Result<(), StoreError> {
    if root.is_dir() {
        return Ok(());
    }
    let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_durable_root(parent)?;
    disk::make_directory(root).map_err(not_writable("make", root))?;
    disk::sync_directory(parent).map_err(StoreError::io("sync", parent))
}

fn check_writable(directory: &Path) -> Result<(), StoreError> {
    // If the process dies between the two steps, an empty file stays, which the next probe or sweep removes.
    let probe = directory.join(layout::temporary_name(u64::MAX));
    match OpenOptions::new().write(true).create(true).truncate(true).open(&probe) {
        Ok(_) => std::fs::remove_file(&probe).map_err(not_writable("write to", directory)),
        Err(source) => match not_writable("write to", directory)(source) {
            error if error.is_disk_full() => Ok(()),
            error => Err(error),
        },
    }
}

/// Files are renamed from one of the directories to another, which works only within one mounted file system.
fn check_one_mount(from: &Path, to: &Path) -> Result<(), StoreError> {
    // The mounts are compared before the file is looked for, so that it need not exist.
    let name = layout::temporary_name(u64::MAX);
    match std::fs::rename(from.join(&name), to.join(&name)) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            Err(StoreError::Apart { from: from.to_owned(), to: to.to_owned() })
        }
        _ => Ok(()),
    }
}

fn not_writable(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_path_buf();
    move |source| match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreError::NotWritable { path, source },
        _ => StoreError::io(action, &path)(source),
    }
}
