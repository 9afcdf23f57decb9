//! The store of entries. Every call blocks, so call it on a blocking thread.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use content_store::record::{Found, replace};
use content_store::{Room, make_directory, sync_directory};
use skynet_formats::datakey::DataKey;
use skynet_formats::entry::{EntryId, Refusal, SignedEntry, supersedes};

use super::EntryStoreError;
use super::damaged::set_aside;
use super::record::{FORMAT, decode, encode};
use super::shares::{Client, Shares};

/// The number of directories, and of locks: one for each first byte of an id.
const SHARDS: usize = 256;

/// Entries in a directory that no other process uses.
#[derive(Debug)]
pub struct EntryStore {
    root: PathBuf,
    /// Read-locked while an entry is read. Write-locked from the look at the current entry until the new one is
    /// durable. So two writers of an entry cannot both win, and no reader sees an entry that a power cut could still
    /// undo.
    shards: Box<[RwLock<Shard>]>,
    /// The number of current entries. It may miss a replacement that failed in its last step, until the next start.
    count: AtomicU64,
    /// Most entries.
    limit: u64,
    shares: Mutex<Shares>,
    /// Room for records.
    room: Room,
}

/// The entries whose ids begin with one byte.
#[derive(Debug, Default)]
struct Shard {
    /// True if this process has synced the name of the directory.
    directory_durable: bool,
}

/// The result of a [`put`](EntryStore::put).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// The new entry is current and durable.
    Stored {
        /// The previous entry.
        replaced: Option<SignedEntry>,
    },
    /// The current entry stays. It is durable if the reason is [`Refusal::SameContent`].
    Refused {
        /// The reason.
        refusal: Refusal,
        /// The current entry.
        standing: SignedEntry,
    },
}

impl EntryStore {
    /// Opens the store in a directory, and sweeps leftovers of a crash. A missing directory is made; its parent must
    /// exist. There may be at most `limit` entries; existing ones beyond that stay and can be replaced.
    pub fn open(root: &Path, limit: u64) -> Result<Self, EntryStoreError> {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        let (count, shares) = (AtomicU64::new(0), Mutex::default());
        let room = Room::new(root, 0);
        let store = EntryStore { root: root.to_path_buf(), shards, count, limit, shares, room };
        for directory in [root, &store.temporary_directory(), &store.damaged_directory()] {
            make_directory(directory).map_err(EntryStoreError::io("make", directory))?;
        }
        let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty());
        for directory in std::iter::once(root).chain(parent) {
            sync_directory(directory).map_err(EntryStoreError::io("sync", directory))?;
        }
        store.sweep()?;
        store.count.store(store.count_files()?, Ordering::Relaxed);
        Ok(store)
    }

    /// This store, whose writes then leave this many bytes of the file system free.
    #[must_use]
    pub fn leaving(self, reserve: u64) -> Self {
        EntryStore { room: self.room.leaving(reserve), ..self }
    }

    /// The current entry of an id.
    pub fn get(&self, id: &EntryId) -> Result<Option<SignedEntry>, EntryStoreError> {
        let found = {
            let _reading = self.read_lock(id);
            self.look(id)?
        };
        match found {
            Found::Nothing => Ok(None),
            Found::Record(entry) => Ok(Some(entry)),
            Found::Garbage => {
                // Checked again: the entry may have been replaced before this lock was acquired.
                let _writing = self.write_lock(id);
                self.standing(id)
            }
        }
    }

    /// Stores an entry if it supersedes the current one of any client.
    ///
    /// Errors: after any error, either of the two entries may be current, and the caller may put it again.
    pub fn put(&self, entry: &SignedEntry) -> Result<Put, EntryStoreError> {
        self.put_by(entry, None)
    }

    /// As [`EntryStore::put`]; a new entry counts as one of this client.
    pub(crate) fn put_by(&self, entry: &SignedEntry, client: Option<&Client>) -> Result<Put, EntryStoreError> {
        let id = entry.id();
        let mut shard = self.write_lock(&id);
        let Some(standing) = self.standing(&id)? else {
            self.make_room(client)?;
            self.replace(&mut shard, &id, entry).inspect_err(|_| {
                self.release_room();
                if let Some(client) = client {
                    self.shares().give_back(client);
                }
            })?;
            return Ok(Put::Stored { replaced: None });
        };
        if let Err(refusal) = supersedes(standing.entry(), entry.entry()) {
            // With the same content, the client is told that it is safe. The bytes read may be only in the page cache,
            // if a process was killed or a sync failed before, so they are written again.
            if refusal == Refusal::SameContent {
                self.replace(&mut shard, &id, &standing)?;
            }
            return Ok(Put::Refused { refusal, standing });
        }
        self.replace(&mut shard, &id, entry)?;
        Ok(Put::Stored { replaced: Some(standing) })
    }

    /// Replaces the record of an entry.
    fn replace(&self, shard: &mut Shard, id: &EntryId, entry: &SignedEntry) -> Result<(), EntryStoreError> {
        let temporary = self.temporary_directory().join(id.to_string());
        let _room = self.room.small_file().map_err(EntryStoreError::io("reserve space in", &self.root))?;
        let (directory, path) = self.place(id);
        if !shard.directory_durable {
            make_directory(&directory).map_err(EntryStoreError::io("make", &directory))?;
            sync_directory(&self.root).map_err(EntryStoreError::io("sync", &self.root))?;
            shard.directory_durable = true;
        }
        // 1. The record, beside. A crash: part of it in `tmp/`, swept at the next start; what stood stands.
        // 2. Its name. A crash: either of the two stands, whole.
        replace(&encode(entry), &temporary, &path, true)?;
        // 3. The durability of the name. From here on it stands, and the caller may say so. If this fails the new one
        // is read from now on, though a power cut may bring the old one back: nobody was told otherwise.
        sync_directory(&directory).map_err(EntryStoreError::io("sync", &directory))
    }

    /// The current entry. A damaged one is moved aside, and logged as an error. The shard is locked for writing.
    fn standing(&self, id: &EntryId) -> Result<Option<SignedEntry>, EntryStoreError> {
        match self.look(id)? {
            Found::Nothing => Ok(None),
            Found::Record(entry) => Ok(Some(entry)),
            Found::Garbage => {
                let aside = set_aside(&self.place(id).1, &self.damaged_directory())?;
                self.release_room();
                tracing::error!(
                    entry.id = %id,
                    path = %aside.display(),
                    "the record of a registry entry is damaged and was set aside; the entry is absent until it is written again"
                );
                Ok(None)
            }
        }
    }

    fn look(&self, id: &EntryId) -> Result<Found<SignedEntry>, EntryStoreError> {
        Ok(FORMAT.read(&self.place(id).1, |record| decode(record, id))?)
    }

    /// The ids of the entries that begin with this byte, including damaged ones.
    pub fn ids(&self, first: u8) -> Result<Vec<EntryId>, EntryStoreError> {
        let directory = self.root.join(format!("{first:02x}"));
        let names = match fs::read_dir(&directory) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(EntryStoreError::io("read", &directory)(error)),
        };
        let mut ids = Vec::new();
        for name in names {
            let name = name.map_err(EntryStoreError::io("read", &directory))?.file_name();
            // An id looks like a datakey. Other names are not touched.
            let id = name.to_str().and_then(|name| name.parse::<DataKey>().ok());
            ids.extend(id.map(|id| EntryId::from_bytes(*id.as_bytes())));
        }
        Ok(ids)
    }

    /// The number of entries.
    pub fn len(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// True if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts one more entry, unless the limit is reached, or the client's share of it.
    fn make_room(&self, client: Option<&Client>) -> Result<(), EntryStoreError> {
        let limit = self.limit;
        // Held until both are counted.
        let mut shares = self.shares();
        if self.len() >= limit {
            return Err(EntryStoreError::TooManyEntries { limit });
        }
        if client.is_some_and(|client| !shares.take(client, self.len(), limit)) {
            return Err(EntryStoreError::ShareUsedUp { limit });
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        // Every change is a single step, so a panic leaves it consistent.
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release_room(&self) {
        let one_less = |count: u64| Some(count.saturating_sub(1));
        let _ = self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    }

    /// The number of records on the disk, including damaged ones.
    fn count_files(&self) -> Result<u64, EntryStoreError> {
        let mut count = 0;
        for shard in 0..SHARDS {
            let directory = self.root.join(format!("{shard:02x}"));
            count += match fs::read_dir(&directory) {
                Ok(names) => names.count() as u64,
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(EntryStoreError::io("read", &directory)(error)),
            };
        }
        Ok(count)
    }

    /// Removes records that never reached their final name. Other names are not touched.
    fn sweep(&self) -> Result<(), EntryStoreError> {
        let directory = self.temporary_directory();
        for leftover in fs::read_dir(&directory).map_err(EntryStoreError::io("read", &directory))? {
            let path = leftover.map_err(EntryStoreError::io("read", &directory))?.path();
            // An id looks like a datakey: 64 hex digits.
            let ours =
                path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<DataKey>().is_ok());
            if ours {
                fs::remove_file(&path).map_err(EntryStoreError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// The directory and the file of an entry.
    pub(super) fn place(&self, id: &EntryId) -> (PathBuf, PathBuf) {
        let name = id.to_string();
        let directory = self.root.join(&name[..2]);
        let file = directory.join(name);
        (directory, file)
    }

    pub(super) fn temporary_directory(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(super) fn damaged_directory(&self) -> PathBuf {
        self.root.join("damaged")
    }

    // The guarded state is complete between any two steps, so a panic breaks nothing.
    fn read_lock(&self, id: &EntryId) -> RwLockReadGuard<'_, Shard> {
        self.shards[usize::from(id.as_bytes()[0])].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self, id: &EntryId) -> RwLockWriteGuard<'_, Shard> {
        self.shards[usize::from(id.as_bytes()[0])].write().unwrap_or_else(PoisonError::into_inner)
    }
}
