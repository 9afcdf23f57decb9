//! Whether the disk is reliable: after a failed write or sync it is not, until a probe succeeds.
//!
//! After a failed sync the state of the disk is unknown, and a second sync that succeeds proves nothing about the first
//! bytes. Linux reports a failed write-back once, and then treats the pages as clean. So bytes that could not be synced
//! are never published. Only a probe, with its own bytes and name, shows that the disk is sound again.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::{ContentStore, Shared, StoreError, content, disk, layout, unique_number};

/// The pause before the first probe, and between probes.
const PROBE_PAUSE: Duration = Duration::from_secs(5);

/// More than one disk sector, so that there is something to write.
const PROBE_BYTES: usize = 4096;

impl ContentStore {
    /// True if a write or a sync failed, other than for lack of space, and no probe has succeeded since. Stored content
    /// can be read, but a caller should begin nothing new.
    pub fn is_troubled(&self) -> bool {
        self.0.troubled.load(Ordering::Acquire)
    }

    /// Records the failure if a step that changes the disk failed.
    pub(super) fn watch<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        result.inspect_err(|error| self.note(error))
    }

    pub(super) fn note(&self, error: &StoreError) {
        if !matches!(error, StoreError::Io { .. }) || self.0.troubled.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!(%error, "the content store's disk failed: uploads are refused until it writes and syncs again");
        let store = Arc::downgrade(&self.0);
        let probing = thread::Builder::new().name("store-probe".into()).spawn(move || probe_until_sound(&store));
        if let Err(error) = probing {
            // Nothing would ever clear the state; the next failure starts a new attempt.
            tracing::error!(%error, "the content store cannot be probed, so uploads are not refused");
            self.0.troubled.store(false, Ordering::Release);
        }
    }

    /// Writes a file, syncs it and its name, and removes it. If all of that succeeds, the store is no longer in
    /// trouble. A crash at any step leaves a temporary file, which is swept.
    pub fn probe(&self) -> Result<(), StoreError> {
        let name = layout::temporary_name(unique_number());
        let path = self.layout().uploads.join(&name);
        let _guard = self.protect(name);
        let written = content::create_staging(&path).and_then(|file| {
            disk::write_at(&file, &[0x5a; PROBE_BYTES], 0).map_err(StoreError::io("write", &path))?;
            disk::sync_data(&file).map_err(StoreError::io("sync", &path))?;
            disk::sync_directory(&self.layout().uploads).map_err(StoreError::io("sync", &self.layout().uploads))
        });
        // Best effort: `uploads` later sweeps a file that stays.
        let _ = std::fs::remove_file(&path);
        written?;
        self.0.troubled.store(false, Ordering::Release);
        Ok(())
    }
}

/// Ends when a probe succeeds or the store is gone.
fn probe_until_sound(store: &Weak<Shared>) {
    loop {
        thread::sleep(PROBE_PAUSE);
        let Some(shared) = store.upgrade() else { return };
        match ContentStore(shared).probe() {
            Ok(()) => return tracing::info!("the content store's disk writes and syncs again: uploads are taken"),
            Err(error) => tracing::debug!(%error, "the content store's disk still fails"),
        }
    }
}
