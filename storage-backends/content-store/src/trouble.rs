//! Whether the disk does what the store tells it: not after a write or sync that failed, until others are seen to succeed.
//!
//! After a failed sync nobody knows what is on the disk, and a second one that succeeds proves nothing about the bytes of
//! the first: Linux reports a write-back that failed once and then takes the pages for clean. So what could not be synced is
//! never published, and only a probe, with bytes and a name of its own, says that the disk is well again.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::{ContentStore, Shared, StoreError, content, disk, layout, unique_number};

/// From a failure to the first probe, and from one that failed to the next.
const PROBE_PAUSE: Duration = Duration::from_secs(5);

/// A sector and more, so that there is something to write.
const PROBE_BYTES: usize = 4096;

impl ContentStore {
    /// True if a write or a sync failed, and not for lack of space, and no probe has succeeded since. What is stored can be
    /// read; a caller should begin nothing new.
    pub fn is_troubled(&self) -> bool {
        self.0.troubled.load(Ordering::Acquire)
    }

    /// Takes note if a step that changes the disk failed.
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
            // Nobody would ever take it back; the next failure tries again.
            tracing::error!(%error, "the content store cannot be probed, so uploads are not refused");
            self.0.troubled.store(false, Ordering::Release);
        }
    }

    /// Writes a file, syncs it and its name, and removes it; if all of that succeeds, the store is troubled no more. A
    /// crash at any step leaves a temporary file, which is swept.
    pub fn probe(&self) -> Result<(), StoreError> {
        let name = layout::temporary_name(unique_number());
        let path = self.layout().uploads.join(&name);
        let _guard = self.protect(name);
        let written = content::create_staging(&path).and_then(|file| {
            disk::write_at(&file, &[0x5a; PROBE_BYTES], 0).map_err(StoreError::io("write", &path))?;
            disk::sync_data(&file).map_err(StoreError::io("sync", &path))?;
            disk::sync_directory(&self.layout().uploads).map_err(StoreError::io("sync", &self.layout().uploads))
        });
        // Best effort: what stays is swept by `uploads` later.
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
