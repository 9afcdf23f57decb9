//! Unit roots of content above one unit: computed once, and stored as a content file that is referenced as long as the
//! content is.

use std::fs::File;
use std::num::NonZero;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backends::skynet::SectorRoots;
use backends::{Content, UNIT, UnitHash};
use content_store::{ContentStore, StoreError};
use skynet_formats::profile::SectorSize;
use skynet_formats::sector::{SectorHasher, SectorRoot};
use tokio_util::sync::CancellationToken;

use super::{Error, LocalContent};
use crate::catalog::command::Command;
use crate::catalog::{Catalog, UnitRootsList};
use crate::oci::{Algorithm, Digest};

/// Bytes hashed between two checks whether the node stops.
const STEP: usize = 256 * 1024;
/// Threads that hash one piece of content, if there are as many processors. The others are left to requests.
const WORKERS: usize = 2;

/// Bytes of one root in a list.
pub(crate) const ROOT_BYTES: u64 = SectorRoot::SIZE as u64;

impl LocalContent {
    /// The content with its unit roots, which are computed from the local file if they are unknown.
    pub(crate) async fn with_computed_roots(
        &self,
        digest: &Digest,
        size: u64,
        stop: &CancellationToken,
    ) -> Result<Content, Error> {
        if let Some(content) = self.with_known_roots(digest, size).await? {
            return Ok(content);
        }
        let units = self.compute_units(digest, size, stop).await?;
        // A damaged file has other roots, which must not replace the right ones.
        if !self.are_recorded(digest, &units.roots)? && self.put_aside(digest).await?.is_some() {
            return Err(Error::Missing);
        }
        self.keep_computed(digest, &units).await?;
        with_roots(digest, size, units.roots.into())
    }

    /// Computes the roots of a valid file again, even if some are recorded.
    pub(crate) async fn renew_unit_roots(
        &self,
        digest: &Digest,
        size: u64,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        if size <= UNIT {
            return Ok(());
        }
        let units = self.compute_units(digest, size, stop).await?;
        self.keep_computed(digest, &units).await
    }

    /// Stores the roots, and the hashes of the same bytes.
    async fn keep_computed(&self, digest: &Digest, units: &Computed) -> Result<(), Error> {
        let list = self.record_unit_roots(digest, &units.roots).await?;
        self.keep_unit_hashes(digest, list, units.hashes.clone()).await;
        Ok(())
    }

    async fn compute_units(&self, digest: &Digest, size: u64, stop: &CancellationToken) -> Result<Computed, Error> {
        let (store, name, stop) = (self.store.clone(), digest.clone(), stop.clone());
        let computing = tokio::task::spawn_blocking(move || {
            compute(&store.open_content(&name, size).map_err(Error::of_file)?, size, &stop)
        });
        computing.await?
    }

    /// True if these are the recorded roots, or if none are recorded.
    pub(crate) fn are_recorded(&self, digest: &Digest, roots: &[SectorRoot]) -> Result<bool, Error> {
        let recorded = self.catalog.unit_roots(digest)?;
        Ok(recorded.is_none_or(|recorded| recorded.list == name_of(&list_of(roots))))
    }

    /// The content with its unit roots, if it needs and has them; `None` if they are unknown.
    async fn with_known_roots(&self, digest: &Digest, size: u64) -> Result<Option<Content>, Error> {
        if size <= UNIT {
            return Ok(Some(plain(digest, size)?));
        }
        let (catalog, store, name) = (self.catalog.clone(), self.store.clone(), digest.clone());
        let reading = tokio::task::spawn_blocking(move || read_roots(&catalog, &store, &name));
        match reading.await?? {
            Some(roots) => with_roots(digest, size, roots).map(Some),
            None => Ok(None),
        }
    }

    /// The content for a read of its copy; without unit roots if their list is lost.
    pub(crate) async fn for_reading(&self, digest: &Digest, size: u64) -> Result<Content, Error> {
        match self.with_known_roots(digest, size).await? {
            Some(content) => Ok(content),
            None => plain(digest, size),
        }
    }

    /// The roots of content above one unit; `None` if their list is unknown or lost. Blocks.
    pub(crate) fn unit_roots(&self, digest: &Digest) -> Result<Option<Arc<[SectorRoot]>>, Error> {
        read_roots(&self.catalog, &self.store, digest)
    }

    /// Makes sure that the unit roots are stored. `false` if the content has no local file, cannot be read, or the node
    /// is stopping.
    pub(crate) async fn keep_unit_roots(
        &self,
        digest: &Digest,
        size: u64,
        stop: &CancellationToken,
    ) -> Result<bool, Error> {
        match self.with_computed_roots(digest, size, stop).await {
            Ok(_) => Ok(true),
            Err(Error::Missing | Error::Stopped) => Ok(false),
            // A pull will find that too, and quarantine the file.
            Err(error @ (Error::Read(_) | Error::Damaged(_))) => {
                tracing::warn!(%digest, %error, "content cannot be read for its unit roots");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Computes a list again from its local content. `false` if it is not a list, or if no such content is local.
    pub(crate) async fn make_list_again(&self, list: &Digest, stop: &CancellationToken) -> Result<bool, Error> {
        for digest in self.catalog.listed(list)? {
            let Some(size) = self.catalog.referenced_size(&digest)? else { continue };
            match self.with_computed_roots(&digest, size, stop).await {
                Ok(_) => return Ok(true),
                Err(Error::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Stores the roots; returns the digest of their list. Durable steps, and what a crash after each leaves: the file
    /// (unreferenced, so a sweep removes it), then the fact.
    pub(crate) async fn record_unit_roots(&self, digest: &Digest, roots: &[SectorRoot]) -> Result<Digest, Error> {
        let bytes = list_of(roots);
        let (list, units) = (name_of(&bytes), roots.len() as u64);
        let _lock = self.locks.lock(&list).await;
        let name = list.clone();
        self.blocking(move |store| store.put_bytes(&name, &bytes)).await?;
        let command = Command::RecordUnitRoots { digest: digest.clone(), list: list.clone(), units };
        self.catalog.commit(vec![command]).await?;
        Ok(list)
    }
}

/// Roots and hashes of all units of a file, in order.
struct Computed {
    roots: Vec<SectorRoot>,
    hashes: Vec<UnitHash>,
}

fn read_roots(catalog: &Catalog, store: &ContentStore, digest: &Digest) -> Result<Option<Arc<[SectorRoot]>>, Error> {
    let Some(UnitRootsList { list, units }) = catalog.unit_roots(digest)? else { return Ok(None) };
    match store.read_verified(&list, units * ROOT_BYTES) {
        Ok(bytes) => Ok(Some(roots_of(&bytes).into())),
        // They can be computed again.
        Err(StoreError::Missing { .. } | StoreError::WrongLength { .. } | StoreError::Corrupt { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn plain(digest: &Digest, size: u64) -> Result<Content, Error> {
    Content::new(digest.clone(), size).map_err(|_| Error::Internal("content with an unknown digest algorithm"))
}

/// The content with these roots. Their number must be that of its units.
pub(crate) fn with_roots(digest: &Digest, size: u64, roots: Arc<[SectorRoot]>) -> Result<Content, Error> {
    let counted = plain(digest, size)?.with_proof(Arc::new(SectorRoots::from(roots)));
    counted.map_err(|_| Error::Internal("the unit roots do not fit the content"))
}

/// Computes roots and hashes. Units are independent, so several are hashed at once.
fn compute(file: &File, size: u64, stop: &CancellationToken) -> Result<Computed, Error> {
    let next = AtomicU64::new(0);
    let work = || {
        let (mut units, mut buffer) = (Vec::new(), vec![0; STEP]);
        loop {
            let unit = next.fetch_add(1, Ordering::Relaxed);
            let start = unit * UNIT;
            if start >= size {
                return Ok(units);
            }
            let (root, hash) = hash_unit(file, start..size.min(start + UNIT), &mut buffer, stop)?;
            units.push((unit, root, hash));
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get).min(WORKERS);
    let mut units = std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let mut units = work();
        for other in others {
            let found = other.join().unwrap_or(Err(Error::Internal("hashing units panicked")));
            units = units.and_then(|units| Ok([units, found?].concat()));
        }
        units
    })?;
    units.sort_unstable_by_key(|(unit, ..)| *unit);
    let (roots, hashes) = units.into_iter().map(|(_, root, hash)| (root, hash)).unzip();
    Ok(Computed { roots, hashes })
}

/// Computes both from the same bytes, so that what was verified for one holds for the other.
fn hash_unit(
    file: &File,
    bytes: Range<u64>,
    buffer: &mut [u8],
    stop: &CancellationToken,
) -> Result<(SectorRoot, UnitHash), Error> {
    let (mut root, mut hash) = (SectorHasher::new(SectorSize::STANDARD), blake3::Hasher::new());
    let mut position = bytes.start;
    while position < bytes.end {
        if stop.is_cancelled() {
            return Err(Error::Stopped);
        }
        let step = buffer.len().min((bytes.end - position) as usize);
        file.read_exact_at(&mut buffer[..step], position).map_err(Error::Read)?;
        let _ = root.update(&buffer[..step]);
        hash.update(&buffer[..step]);
        position += step as u64;
    }
    Ok((root.finish(), UnitHash::from_bytes(*hash.finalize().as_bytes())))
}

/// The list as stored: the roots, one after another.
fn list_of(roots: &[SectorRoot]) -> Vec<u8> {
    roots.iter().flat_map(SectorRoot::as_bytes).copied().collect()
}

fn name_of(list: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, list)
}

/// The roots in a list.
pub(crate) fn roots_of(list: &[u8]) -> Vec<SectorRoot> {
    let (roots, _) = list.as_chunks::<{ SectorRoot::SIZE }>();
    roots.iter().map(|root| SectorRoot::from_bytes(*root)).collect()
}

/// The list of roots of content in memory.
#[cfg(test)]
pub(crate) fn list_of_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut roots = skynet_formats::unit_roots::UnitRoots::new(SectorSize::STANDARD);
    roots.update(bytes);
    list_of(&roots.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_that_were_hashed_at_once_stand_in_their_order() {
        let place = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..5 * UNIT + 777).map(|n| (n / 1000) as u8).collect();
        std::fs::write(place.path().join("content"), &bytes).unwrap();
        let file = File::open(place.path().join("content")).unwrap();
        let (size, stop) = (bytes.len() as u64, CancellationToken::new());
        let computed = compute(&file, size, &stop).unwrap();
        assert_eq!(list_of(&computed.roots), list_of_bytes(&bytes));
        let hashes: Vec<_> = bytes.chunks(UNIT as usize).map(UnitHash::of).collect();
        assert_eq!(computed.hashes, hashes);
        assert!(matches!(compute(&file, size + 1, &stop), Err(Error::Read(_))));
        stop.cancel();
        assert!(matches!(compute(&file, size, &stop), Err(Error::Stopped)));
    }
}
