//! The account of staged bytes (`storage.staging_limit`): those of open uploads, of manifests being stored, and of
//! content that is not on the portals yet. The catalog counts the last ones, as the backlog.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Error;
use crate::catalog::Catalog;

/// The account of this node. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Staging(Arc<Account>);

#[derive(Debug)]
struct Account {
    catalog: Catalog,
    /// 0: no limit.
    limit: AtomicU64,
    /// Bytes that are not in the backlog yet.
    arriving: AtomicU64,
}

/// The bytes of one upload or manifest. They leave the account when this is dropped: then they are in the backlog, or
/// gone.
#[derive(Debug)]
pub(super) struct Staged {
    staging: Staging,
    bytes: AtomicU64,
}

impl Staging {
    /// An account without a limit.
    pub(super) fn new(catalog: Catalog) -> Self {
        Staging(Arc::new(Account { catalog, limit: AtomicU64::new(0), arriving: AtomicU64::new(0) }))
    }

    /// Sets the limit in bytes; 0: none.
    pub(super) fn limit_to(&self, bytes: u64) {
        self.0.limit.store(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that are on the disk already, whatever the limit.
    pub(super) fn of_existing(&self, bytes: u64) -> Staged {
        self.0.arriving.fetch_add(bytes, Ordering::AcqRel);
        Staged { staging: self.clone(), bytes: AtomicU64::new(bytes) }
    }

    /// Counts the bytes of content that arrives whole.
    ///
    /// Errors: [`Error::StagingFull`].
    pub(super) fn of_new(&self, bytes: u64) -> Result<Staged, Error> {
        let staged = self.of_existing(0);
        staged.add(bytes).map(|()| staged)
    }

    /// Checks that an upload may begin.
    ///
    /// Errors: [`Error::StagingFull`].
    pub(super) fn check(&self) -> Result<(), Error> {
        let arriving = self.0.arriving.load(Ordering::Acquire);
        self.check_sum(arriving.saturating_add(1))
    }

    fn check_sum(&self, arriving: u64) -> Result<(), Error> {
        match self.0.limit.load(Ordering::Relaxed) {
            0 => Ok(()),
            // The backlog is read last: bytes on the way there count twice, never not at all.
            limit if arriving.saturating_add(self.0.catalog.backlog().bytes) > limit => Err(Error::StagingFull),
            _ => Ok(()),
        }
    }
}

impl Staged {
    /// Counts further bytes, before they are written.
    ///
    /// Errors: [`Error::StagingFull`]; then they are not counted.
    pub(super) fn add(&self, bytes: u64) -> Result<(), Error> {
        let account = &self.staging.0;
        let arriving = account.arriving.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        if let Err(full) = self.staging.check_sum(arriving) {
            account.arriving.fetch_sub(bytes, Ordering::AcqRel);
            return Err(full);
        }
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        Ok(())
    }

    /// The bytes that are counted.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Counts this number of bytes from now on, as found on the disk after a request.
    pub(super) fn set(&self, bytes: u64) {
        let before = self.bytes.swap(bytes, Ordering::AcqRel);
        let arriving = &self.staging.0.arriving;
        match bytes.checked_sub(before) {
            Some(more) => arriving.fetch_add(more, Ordering::AcqRel),
            None => arriving.fetch_sub(before - bytes, Ordering::AcqRel),
        };
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::Fixture;

    #[tokio::test(flavor = "multi_thread")]
    async fn staged_bytes_never_pass_the_limit_and_come_back() {
        let fixture = Fixture::new(Duration::from_hours(1));
        let staging = Staging::new(fixture.registry.catalog().clone());
        let left_by_the_last_run = staging.of_existing(100);
        staging.limit_to(50);
        assert!(staging.check().is_err());
        drop(left_by_the_last_run);
        let upload = staging.of_new(30).unwrap();
        assert!(upload.add(21).is_err());
        upload.add(20).unwrap();
        assert!(staging.check().is_err() && staging.of_new(1).is_err());
        upload.set(10);
        let manifest = staging.of_new(40).unwrap();
        assert!(upload.add(1).is_err());
        drop((upload, manifest));
        staging.of_new(50).unwrap();
        staging.limit_to(0);
        staging.of_new(u64::MAX / 2).unwrap();
    }
}
