//! Content that is not here any more, read from the backend: one fetch for all who want it, into a file that becomes the
//! local one when all of it came. No byte leaves before its unit is verified.

mod fetch;
mod passing;
mod read;
mod units;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use backends::{Content, Locator, UNIT};
use bytes::{Bytes, BytesMut};
use content_store::Staged;
use futures_util::TryStreamExt as _;
use tokio::sync::{OnceCell, watch};

use self::passing::Passing;
use self::units::{Step, Units};
use super::{Remote, roots};
use crate::catalog::Placement;
use crate::oci::Digest;
use crate::service::{Error, Registry};

pub use read::ColdRead;

/// How long a manifest, or other content that is sent in one piece, may take to come: containerd waits 30 s for headers.
const SMALL_PATIENCE: Duration = Duration::from_secs(20);

/// The cold reads under way.
#[derive(Debug, Default)]
pub(crate) struct ColdReads(Mutex<HashMap<Digest, Weak<Cold>>>);

/// One piece of content that is being read cold, by any number of readers.
#[derive(Debug)]
pub(crate) struct Cold {
    registry: Arc<Registry>,
    remote: Arc<Remote>,
    /// Without the roots of its units, if their list is lost.
    content: Content,
    /// With them, once the backend gave them; `None` if it cannot.
    rooted: OnceCell<Option<Content>>,
    /// Held while everything is read because no part can be verified alone.
    whole: tokio::sync::Mutex<()>,
    locators: Vec<Locator>,
    /// All of it was read from a backend once and had both its digest and the roots of its units.
    proven: bool,
    staged: Staged,
    passing: Passing,
    units: Mutex<Units>,
    changed: watch::Sender<()>,
}

/// A blob that is read cold. Nothing is fetched until a range of it is asked for.
#[derive(Clone, Debug)]
pub struct ColdBlob(Arc<Cold>);

impl ColdBlob {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.0.content.length()
    }

    /// Begins to read a range, see [`ColdBlob::read_several`].
    pub async fn read(&self, range: Range<u64>) -> Result<ColdRead, Error> {
        self.read_several(vec![range]).await
    }

    /// Begins to read ranges, one after the other; only units that they touch are fetched. Waits for the first verified
    /// unit, but not for long: the client wants an answer, and from a backend that is slow to find content and answers
    /// otherwise, the bytes will come. An error means that nothing can be had now.
    pub async fn read_several(&self, ranges: Vec<Range<u64>>) -> Result<ColdRead, Error> {
        let remote = &self.0.remote;
        let mut read = ColdRead::new(Arc::clone(&self.0), ranges);
        {
            let mut first = std::pin::pin!(read.first());
            if let Ok(first) = tokio::time::timeout(remote.settings.first_unit, &mut first).await {
                first?;
            } else {
                tokio::select! {
                    first = first => first?,
                    answers = remote.answers() => if !answers { return Err(Error::BackendUnavailable) },
                }
            }
        }
        Ok(read)
    }
}

impl Cold {
    fn units(&self) -> MutexGuard<'_, Units> {
        // Every change is whole before anything can panic.
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Units) -> T) -> T {
        let outcome = change(&mut self.units());
        self.changed.send_replace(());
        outcome
    }

    /// The bytes of units.
    fn bytes(&self, units: &Range<u64>) -> Range<u64> {
        let length = self.content.length();
        (units.start * UNIT).min(length)..(units.end * UNIT).min(length)
    }
}

impl Registry {
    /// True if a backend has acknowledged the content, and is not to remove it.
    pub(crate) fn is_placed(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.remote.is_some() && !self.standing_places(digest)?.is_empty())
    }

    /// Where content can be read, those places first from which it was.
    pub(super) fn standing_places(&self, digest: &Digest) -> Result<Vec<Placement>, Error> {
        let Some(wanted) = self.catalog.wanted() else { return Ok(Vec::new()) };
        let mut placements = self.catalog.placements(digest)?;
        placements.retain(|placement| wanted.counts(placement) > 0);
        placements.sort_by_key(|placement| !wanted.is_read_back(placement));
        Ok(placements)
    }

    /// Content that is held and not here, if a backend has it.
    pub(crate) async fn cold(self: &Arc<Self>, digest: &Digest, size: u64) -> Result<Option<ColdBlob>, Error> {
        let Some(remote) = self.remote.clone() else { return Ok(None) };
        if let Some(under_way) = remote.cold_reads.get(digest) {
            return Ok(Some(ColdBlob(under_way)));
        }
        let places = self.standing_places(digest)?;
        if places.is_empty() {
            return Ok(None);
        }
        let content = roots::for_reading(self, digest, size).await?;
        let proven = content.unit_roots().is_some() && places.iter().any(|place| place.read_back);
        let content = if proven { self.with_unit_hashes(&remote, content).await? } else { content };
        let locators = places.into_iter().map(|place| place.locator).collect();
        let needed = self.limits.reserve.saturating_add(size);
        let staged = self.blocking(move |store| match store.free_space()? < needed {
            true => Ok(None),
            false => store.stage(size).map(Some),
        });
        let Some(staged) = staged.await? else {
            tracing::warn!(%digest, size_bytes = size, "no space is left to read content from the backend");
            return Err(Error::BackendUnavailable);
        };
        let cold = Arc::new(Cold {
            registry: Arc::clone(self),
            content,
            rooted: OnceCell::new(),
            whole: tokio::sync::Mutex::new(()),
            locators,
            proven,
            staged,
            passing: Passing::default(),
            units: Mutex::new(Units::new(size.div_ceil(UNIT))),
            changed: watch::Sender::new(()),
            remote: Arc::clone(&remote),
        });
        Ok(Some(ColdBlob(remote.cold_reads.get_or_keep(digest, cold))))
    }

    /// The content with the hashes of its units, if they are known.
    async fn with_unit_hashes(self: &Arc<Self>, remote: &Arc<Remote>, content: Content) -> Result<Content, Error> {
        let (catalog, remote, digest) = (self.catalog.clone(), Arc::clone(remote), content.digest().clone());
        let reading = tokio::task::spawn_blocking(move || remote.unit_hashes(&catalog, &digest));
        match reading.await?? {
            Some(hashes) => {
                content.with_unit_hashes(hashes).map_err(|_| Error::Internal("the hashes of other content's units"))
            }
            None => Ok(content),
        }
    }

    /// Reads content that is not here and makes it a local file; false if no backend has it. An error means that it may
    /// be had later.
    pub(crate) async fn bring_back(self: &Arc<Self>, digest: &Digest, size: u64) -> Result<bool, Error> {
        const STEP: Duration = Duration::from_millis(20);
        let Some(blob) = self.cold(digest, size).await? else { return Ok(false) };
        let mut pieces = blob.read(0..size).await?.into_stream();
        while let Some(piece) = pieces.try_next().await.map_err(|_| Error::BackendUnavailable)? {
            drop(piece);
        }
        drop((pieces, blob));
        // What came whole is read once more before it becomes the file.
        let remote = self.remote.as_ref().ok_or(Error::Internal("a cold read without a backend"))?;
        while remote.cold_reads.get(digest).is_some() {
            tokio::time::sleep(STEP).await;
        }
        let name = digest.clone();
        Ok(self.blocking(move |store| store.stat(&name)).await?.is_some())
    }

    /// The same, whole: for what is sent in one piece.
    pub(crate) async fn cold_bytes(self: &Arc<Self>, digest: &Digest, size: u64) -> Result<Option<Bytes>, Error> {
        let Some(blob) = self.cold(digest, size).await? else { return Ok(None) };
        let whole = async {
            let mut bytes = BytesMut::with_capacity(size as usize);
            let mut read = blob.read(0..size).await?.into_stream();
            while let Some(piece) = read.try_next().await.map_err(|_| Error::BackendUnavailable)? {
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes.freeze())
        };
        let in_time = tokio::time::timeout(SMALL_PATIENCE, whole).await;
        in_time.unwrap_or(Err(Error::BackendUnavailable)).map(Some)
    }
}

impl ColdReads {
    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<Cold>> {
        self.lock().get(digest).and_then(Weak::upgrade)
    }

    /// The one under way, or else this one from now on.
    fn get_or_keep(&self, digest: &Digest, cold: Arc<Cold>) -> Arc<Cold> {
        let mut reads = self.lock();
        if let Some(other) = reads.get(digest).and_then(Weak::upgrade) {
            return other;
        }
        reads.retain(|_, read| read.strong_count() > 0);
        reads.insert(digest.clone(), Arc::downgrade(&cold));
        cold
    }

    fn forget(&self, digest: &Digest) {
        self.lock().remove(digest);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Cold>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
