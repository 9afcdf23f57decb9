//! The sled tree of the index: checked reads, and batches that update the meta record.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use sled::IVec;

use super::schema::{Key, TREE, Table, VERSION};
use super::source::{Fault, Source, Visit};
use super::value::{self, Meta, Payload, checksum, seal, unseal};

/// How often sled's thread syncs its log. No caller waits for it, since the journal makes changes durable.
const FLUSH_EVERY_MS: u64 = 500;

/// The change of one key.
#[derive(Debug)]
pub(crate) struct Change {
    /// Checksum of the current value; `None` if there is none.
    pub(crate) before: Option<u64>,
    /// The new payload; `None` removes the key.
    pub(crate) now: Option<Payload>,
}

/// The changes of a batch, by key.
pub(crate) type Changes = BTreeMap<Vec<u8>, Change>;

/// Called by a walk with each key and its stored value.
type VisitStored<'a> = dyn FnMut(&[u8], &IVec) -> Result<ControlFlow<()>, Fault> + 'a;

/// An open index.
#[derive(Debug)]
pub(crate) struct Index {
    database: sled::Db,
    tree: sled::Tree,
    /// Changed only by the writer.
    meta: Mutex<Meta>,
    /// Number of its directory. Readers name it when they find it damaged.
    generation: u64,
    /// Makes the next batch fail.
    #[cfg(test)]
    pub(crate) fail_next: std::sync::atomic::AtomicBool,
}

impl Index {
    /// Opens the database in `directory` as a view of `journal`. An index of another journal or schema also opens: the
    /// caller must check [`Index::meta`]. A new one is empty.
    pub(crate) fn open(directory: &Path, generation: u64, cache_bytes: u64, journal: &str) -> Result<Self, Fault> {
        guarded(|| {
            let database = sled::Config::new()
                .path(directory)
                .cache_capacity(cache_bytes)
                .flush_every_ms(Some(FLUSH_EVERY_MS))
                .open()?;
            let tree = database.open_tree(TREE)?;
            let key = Key::meta();
            let meta = match tree.get(&key)? {
                Some(stored) => {
                    let (_, payload) = unseal(&key, &stored).ok_or(Fault::Checksum)?;
                    serde_json::from_slice(&payload).map_err(|_| Fault::Form)?
                }
                None => Meta { version: VERSION, journal: journal.into(), applied: None, entries: 0, sum: 0 },
            };
            Ok(Index {
                database,
                tree,
                meta: Mutex::new(meta),
                generation,
                #[cfg(test)]
                fail_next: false.into(),
            })
        })
    }

    /// The meta record.
    pub(crate) fn meta(&self) -> Meta {
        self.meta.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Number of its directory.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The payload of a key, with its checksum.
    pub(crate) fn get_with_checksum(&self, key: &[u8]) -> Result<Option<(u64, Payload)>, Fault> {
        match guarded(|| Ok(self.tree.get(key)?))? {
            Some(stored) => unseal(key, &stored).map(Some).ok_or(Fault::Checksum),
            None => Ok(None),
        }
    }

    /// Applies changes and the new meta record in one batch. After a crash both are there, or neither. Not synced.
    pub(crate) fn apply(&self, changes: Changes, applied: Option<u64>) -> Result<(), Fault> {
        let mut meta = self.meta.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Meta { applied, ..meta.clone() };
        let mut batch = sled::Batch::default();
        for (key, change) in changes {
            if let Some(before) = change.before {
                next.entries = next.entries.wrapping_sub(1);
                next.sum = next.sum.wrapping_sub(before);
            }
            match change.now {
                Some(payload) => {
                    let checksum = checksum(&key, &payload);
                    next.entries = next.entries.wrapping_add(1);
                    next.sum = next.sum.wrapping_add(checksum);
                    if change.before != Some(checksum) {
                        let stored = seal(checksum, &payload);
                        batch.insert(key, stored);
                    }
                }
                None if change.before.is_some() => batch.remove(key),
                None => {}
            }
        }
        let (key, payload) = (Key::meta(), value::json(&next));
        let stored = seal(checksum(&key, &payload), &payload);
        batch.insert(key, stored);
        #[cfg(test)]
        if self.fail_next.swap(false, std::sync::atomic::Ordering::SeqCst) {
            return Err(Fault::Panicked);
        }
        guarded(|| Ok(self.tree.apply_batch(batch)?))?;
        *meta = next;
        Ok(())
    }

    /// Reads all entries, and compares them with the meta record.
    pub(crate) fn verify(&self) -> Result<(), Fault> {
        let meta = self.meta();
        let (mut entries, mut sum) = (0_u64, 0_u64);
        self.each(Bound::Included(&[][..]), &mut |key, stored| {
            let (checksum, _) = unseal(key, stored).ok_or(Fault::Checksum)?;
            if key.first() != Some(&(Table::Meta as u8)) {
                entries += 1;
                sum = sum.wrapping_add(checksum);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if (entries, sum) == (meta.entries, meta.sum) { Ok(()) } else { Err(Fault::Sum) }
    }

    /// Writes the data that sled keeps in memory to the operating system.
    pub(crate) fn flush(&self) -> Result<(), Fault> {
        guarded(|| Ok(self.database.flush().map(drop)?))
    }

    /// Abandons a failed database. Its memory and threads stay until the process ends.
    ///
    /// It is deliberately never dropped: sled's drop flushes, then waits for threads that may have ended after a failed
    /// write, so it may never return. A panic in it during unwinding would abort the process.
    pub(crate) fn abandon(self) {
        std::mem::forget(self);
    }

    fn each(&self, start: Bound<&[u8]>, visit: &mut VisitStored<'_>) -> Result<(), Fault> {
        let mut entries = guarded(|| Ok(self.tree.range::<&[u8], _>((start, Bound::Unbounded))))?;
        while let Some(entry) = guarded(|| Ok(entries.next().transpose()?))? {
            if visit(&entry.0, &entry.1)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Changes a stored value without updating the meta record.
    #[cfg(test)]
    pub(crate) fn damage(&self, key: &[u8]) {
        let mut stored = self.tree.get(key).unwrap().expect("a key to damage").to_vec();
        let last = stored.len() - 1;
        stored[last] ^= 1;
        self.tree.insert(key, stored).unwrap();
    }

    /// Removes a key without updating the meta record.
    #[cfg(test)]
    pub(crate) fn lose(&self, key: &[u8]) {
        self.tree.remove(key).unwrap().expect("a key to lose");
    }
}

impl Source for Index {
    fn get(&self, key: &[u8]) -> Result<Option<Payload>, Fault> {
        Ok(self.get_with_checksum(key)?.map(|(_, payload)| payload))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Fault> {
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        self.each(start, &mut |key, stored| {
            if !key.starts_with(prefix) {
                return Ok(ControlFlow::Break(()));
            }
            let (_, payload) = unseal(key, stored).ok_or(Fault::Checksum)?;
            visit(key, &payload)
        })
    }
}

/// Turns panics into errors. On a damaged file sled panics where it should return an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Fault::Panicked))
}
